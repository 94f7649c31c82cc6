import { useQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { api, must } from '../api/client';
import { clock, Empty, Loading, num, Page, Panel, percent, Scroll, Word } from '../ui/bits';

export default function Plans() {
  const { data, error } = useQuery({ queryKey: ['plans'], queryFn: () => must(api.GET('/api/v1/plans')), refetchInterval: 5_000 });
  if (!data) return <Loading error={error} />;
  return (
    <Page title="Plans" sub="each names every message it would touch">
      <Panel title="All plans" side={<span className="dim">{data.plans.length}</span>}>
        {data.plans.length === 0 ? <Empty title="No plan yet.">The agent makes one when a tenant whose autonomy is propose breaches its SLA; a person makes one on the tenant's page.</Empty> : (
          <Scroll label="All plans"><table className="list"><thead><tr><th>State</th><th>Plan</th><th>Tenant</th><th>Skill</th><th className="num">Messages</th><th className="num">Of what was seen</th><th>Asked by</th><th>Made</th></tr></thead>
            <tbody>{data.plans.map((p) => <tr key={p.hash}><td><Word w={p.state} /></td><td><Link className="mono" to="/plans/$plan" params={{ plan: p.id }}>{p.id}</Link></td><td>{p.tenant}</td><td>{p.skill}</td><td className="num">{num(p.messages)}</td><td className="num">{percent(p.messages, p.messages_seen)}</td><td>{p.requester}</td><td>{clock(p.created)}</td></tr>)}</tbody></table></Scroll>
        )}
      </Panel>
    </Page>
  );
}
