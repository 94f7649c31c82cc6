import { useQuery } from '@tanstack/react-query';
import { getRouteApi, Link } from '@tanstack/react-router';
import { api, must } from '../api/client';
import { check } from '../proof';
import { Empty, Facts, Foreign, Loading, num, Page, Panel, Scroll } from '../ui/bits';

const route = getRouteApi('/audit');
type Entry = { ts?: string; type?: string; execution?: string; actor?: string };
const parsed = (bytes: string): Entry => { try { return JSON.parse(bytes) as Entry; } catch { return {}; } };

export default function Audit() {
  const { entry } = route.useSearch();
  const head = useQuery({ queryKey: ['audit', 'head'], queryFn: () => must(api.GET('/api/v1/audit/head')) });
  const list = useQuery({ queryKey: ['audit', 'entries'], queryFn: () => must(api.GET('/api/v1/audit/entries')) });
  if (!head.data || !list.data) return <Loading error={head.error ?? list.error} />;
  return (
    <Page title="Audit log" sub={`${num(head.data.size)} entries, append-only`}>
      {!head.data.witnessed && <div className="alert risk" role="note">Unwitnessed: nobody else remembers this log&apos;s head, so its key holder could rewrite it.</div>}
      <Facts rows={[['Origin', head.data.origin], ['Verifier key', <span key="v" className="mono cut">{head.data.verifier_key}</span>], ['Offline', <code key="c">deployclaw audit verify</code>]]} />
      {entry !== undefined && <Proof key={entry} index={entry} />}
      <Panel title="Entries" side={<span className="dim">the newest {list.data.entries.length}</span>}>
        {list.data.entries.length === 0 ? <Empty title="The log is empty." /> : (
          <Scroll label="Entries"><table className="list"><thead><tr><th className="num">Entry</th><th>Time</th><th>Type</th><th>Execution</th><th>By</th><th>Proof</th></tr></thead>
            <tbody>{[...list.data.entries].reverse().map((e) => { const r = parsed(e.bytes); return <tr key={e.index} aria-current={e.index === entry}><td className="num">{e.index}</td><td className="mono">{r.ts ?? '–'}</td><td>{r.type ?? '–'}</td><td>{r.execution ? <Link to="/runs/$run" params={{ run: r.execution }}>{r.execution}</Link> : '–'}</td><td><Foreign text={r.actor ?? '–'} /></td><td><Link to="/audit" search={{ entry: e.index }}>Check entry {e.index}</Link></td></tr>; })}</tbody></table></Scroll>
        )}
      </Panel>
    </Page>
  );
}

/** The path from the entry to the signed root is computed again here, in the browser. */
function Proof({ index }: { index: number }) {
  const { data, error } = useQuery({
    queryKey: ['proof', index],
    retry: false,
    queryFn: async () => {
      const p = await must(api.GET('/api/v1/audit/proofs/{index}', { params: { path: { index: String(index) } } }));
      return { ...p, checked: await check(p.proof, p.bytes, p.verifier_key) };
    },
  });
  if (error) return <div role="alert" className="alert breach">Entry {index} could not be checked: <Foreign text={error.message} /></div>;
  if (!data) return <p className="dim" role="status">Checking entry {index}…</p>;
  const c = data.checked;
  const ok = c.inclusion && c.signature;
  return (
    <Panel title={`Proof of entry ${index}`} side={<span className={`badge ${ok ? 'ok' : 'breach'}`}>{ok ? 'verified in this browser' : 'NOT VERIFIED'}</span>}>
      <ul className="lines">
        <li><span className={`badge ${c.inclusion ? 'ok' : 'breach'}`}>inclusion</span> The entry&apos;s hash and {c.path.length} hashes of the tree {c.inclusion ? 'add up to' : 'do not add up to'} the root over {num(c.size)} entries.</li>
        <li><span className={`badge ${c.signature ? 'ok' : 'breach'}`}>signature</span> The head {c.signature ? 'is' : 'is not'} signed by the key above (Ed25519).</li>
      </ul>
      <div className="pad2"><p className="dim">The entry</p><pre className="sample" aria-label="Entry"><Foreign text={data.bytes} /></pre><p className="dim">From the leaf to the root</p><ol className="path mono"><li>leaf {c.leaf}</li>{c.path.map((s, i) => <li key={i}>{s.side === 'left' ? 'with, on the left,' : 'with, on the right,'} {s.hash}</li>)}<li>root {c.root}</li></ol></div>
    </Panel>
  );
}
