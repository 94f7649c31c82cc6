import { useQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { api, must } from '../api/client';
import { clock, Empty, Foreign, Loading, num, Page, Panel, Scroll, Word } from '../ui/bits';

export default function Runs() {
  const runs = useQuery({ queryKey: ['executions'], queryFn: () => must(api.GET('/api/v1/executions')) });
  const ops = useQuery({ queryKey: ['operations'], queryFn: () => must(api.GET('/api/v1/operations')) });
  if (!runs.data || !ops.data) return <Loading error={runs.error ?? ops.error} />;
  return (
    <Page title="Runs" sub="what the agent is asked to do, and what was done">
      <Panel title="Since the agent started">{ops.data.operations.length === 0 ? <Empty title="Nobody asked for anything yet." /> : <Scroll label="Since the agent started"><table className="list"><thead><tr><th>State</th><th>What</th><th>Tenant</th><th>By</th><th>Asked</th><th>Outcome</th></tr></thead><tbody>{ops.data.operations.slice(0, 50).map((o) => <tr key={o.id}><td><Word w={o.state} /></td><td><Link to="/runs/$run" params={{ run: o.id }}>{o.kind} {o.id}</Link></td><td>{o.tenant}</td><td>{o.actor}</td><td>{clock(o.created)}</td><td>{o.error ? <Foreign text={o.error.detail} /> : o.execution_id}</td></tr>)}</tbody></table></Scroll>}</Panel>
      <Panel title="Executions">{runs.data.executions.length === 0 ? <Empty title="Nothing was removed so far." /> : <Scroll label="Executions"><table className="list"><thead><tr><th>State</th><th>Execution</th><th>Tenant</th><th className="num">Removed</th><th className="num">Preserved</th><th>When</th></tr></thead><tbody>{runs.data.executions.map((r) => <tr key={r.execution_id}><td><Word w={r.state} /></td><td><Link to="/runs/$run" params={{ run: r.execution_id }}>{r.execution_id}</Link></td><td>{r.tenant_id}</td><td className="num">{num(r.remediation_record.messages_removed)}</td><td className="num">{num(r.remediation_record.messages_preserved)}</td><td>{clock(r.timestamp)}</td></tr>)}</tbody></table></Scroll>}</Panel>
    </Page>
  );
}
