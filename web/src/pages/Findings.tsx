import { useQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { api, must } from '../api/client';
import { clock, Empty, Foreign, Loading, num, Page, Panel, Scroll } from '../ui/bits';

export default function Findings() {
  const { data, error } = useQuery({ queryKey: ['findings'], queryFn: () => must(api.GET('/api/v1/findings')) });
  if (!data) return <Loading error={error} />;
  return (
    <Page title="Findings" sub="groups of messages that fail for one reason, newest first">
      <Panel title="All findings" side={<span className="dim">{data.findings.length}</span>}>
        {data.findings.length === 0 ? <Empty title="Nothing was found so far.">A scan of a tenant looks for poison and removes nothing.</Empty> : (
          <Scroll label="All findings"><table className="list"><thead><tr><th>Signature</th><th>Tenant</th><th className="num">Messages</th><th className="num">Sure, at least</th><th>Seen</th></tr></thead>
            <tbody>{data.findings.map((f) => <tr key={f.finding_id}><td><Link to="/findings/$finding" params={{ finding: f.finding_id }}><Foreign text={f.signature} /></Link></td><td>{f.tenant}</td><td className="num">{num(f.count)}</td><td className="num">{f.lower_bound.toFixed(4)}</td><td>{clock(f.at)}</td></tr>)}</tbody></table></Scroll>
        )}
      </Panel>
    </Page>
  );
}
