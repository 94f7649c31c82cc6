import { useQuery } from '@tanstack/react-query';
import { getRouteApi, Link } from '@tanstack/react-router';
import { api, must } from '../api/client';
import { clock, Empty, Facts, Foreign, Loading, num, Page, Panel } from '../ui/bits';

const route = getRouteApi('/findings/$finding');
/** Evidence for and against, each in one sentence with its count; what speaks against is never folded away. */
export default function FindingPage() {
  const { finding } = route.useParams();
  const { data: f, error } = useQuery({ queryKey: ['finding', finding], queryFn: () => must(api.GET('/api/v1/findings/{finding}', { params: { path: { finding } } })) });
  if (!f) return <Loading error={error} />;
  const e = f.evidence;
  const rows: [boolean | null, number, string][] = [
    [true, e.failing_messages, 'messages with it failed at least twice'],
    [true, e.failures, 'deliveries of messages with it failed'],
    [false, e.passes, 'messages were acknowledged although they have it'],
    [null, e.waiting, 'messages with it were never delivered: their place in the queue tells nothing yet'],
    [null, e.in_flight, 'messages with it are being worked on now'],
    [null, e.other_failures, 'messages without it failed too'],
    [null, e.other_passes, 'messages without it passed'],
  ];
  const share = (from: number, to: number) => ({ left: `${from * 100}%`, width: `${Math.max(0, to - from) * 100}%` });
  return (
    <Page title={<Foreign text={f.signature} />} sub={<>{num(f.count)} messages of <Link to="/tenants/$tenant" params={{ tenant: f.tenant }}>{f.tenant}</Link>, seen {clock(f.at)}</>}>
      <p className="lead"><Foreign text={f.explanation} /></p>
      <Facts rows={[['Messages', num(f.count)], ['Confidence', f.confidence.toFixed(4)], ['At least (98%)', f.lower_bound.toFixed(4)], ['Path in the body', <span key="p" className="mono"><Foreign text={f.path || 'the whole body'} /></span>]]} />
      <div className="ci" role="img" aria-label={`Sure to ${f.confidence.toFixed(4)}, at least ${f.lower_bound.toFixed(4)}`}><i style={share(0, f.lower_bound)} /><i className="mean" style={share(f.lower_bound, f.confidence)} /></div>
      <Panel title="Evidence"><ul className="ev">{rows.map(([sign, n, words]) => <li key={words}><span className={`badge ${sign === null ? 'unknown' : sign ? 'breach' : 'ok'}`}>{sign === null ? 'context' : sign ? 'for' : 'against'}</span><b className="num">{num(n)}</b><span>{words}</span></li>)}</ul></Panel>
      <Panel title="A sample, redacted" side={<span className="dim">letters and digits of values are masked by the agent</span>}>{f.excerpt ? <pre className="sample" aria-label="Sample"><Foreign text={f.excerpt} /></pre> : <Empty title="No excerpt was kept." />}</Panel>
      <Panel title="Messages" side={<span className="dim">{f.sample.length} of {num(f.count)}</span>}><ul className="lines mono">{f.sample.map((id) => <li key={id}><Foreign text={id} /></li>)}</ul></Panel>
      <Panel title="Queues"><ul className="lines">{f.queues.map((q) => <li key={q}><Foreign text={q} /></li>)}</ul></Panel>
    </Page>
  );
}
