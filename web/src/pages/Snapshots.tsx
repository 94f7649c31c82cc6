import { useQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { api, must } from '../api/client';
import { bytes, Empty, Foreign, Loading, num, Page, Panel, Scroll } from '../ui/bits';

export default function Snapshots() {
  const { data, error } = useQuery({ queryKey: ['snapshots'], queryFn: () => must(api.GET('/api/v1/snapshots')) });
  if (!data) return <Loading error={error} />;
  return (
    <Page title="Snapshots" sub="encrypted copies of what was removed, read back before the removal">
      <Panel title="All snapshots" side={<span className="dim">{data.snapshots.length}</span>}>
        {data.snapshots.length === 0 ? <Empty title="No snapshot yet.">One is made before the first message of an execution is touched.</Empty> : (
          <Scroll label="All snapshots"><table className="list"><thead><tr><th>Execution</th><th>Queue</th><th className="num">Messages</th><th className="num">Content</th><th className="num">Stored</th><th>Key</th><th>SHA-256 of the object</th></tr></thead>
            <tbody>{data.snapshots.map((s) => <tr key={s.execution_id + s.queue}><td><Link to="/runs/$run" params={{ run: s.execution_id }}>{s.execution_id}</Link></td><td><Foreign text={s.queue} /></td><td className="num">{num(s.messages)}</td><td className="num">{bytes(s.plaintext_bytes)}</td><td className="num">{bytes(s.stored_bytes)}</td><td className="mono">{s.key_id}</td><td className="mono">{s.ciphertext_sha256.slice(0, 16)}…</td></tr>)}</tbody></table></Scroll>
        )}
      </Panel>
    </Page>
  );
}
