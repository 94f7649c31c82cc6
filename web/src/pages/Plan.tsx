import { useMutation, useQuery } from '@tanstack/react-query';
import { getRouteApi, Link, useNavigate } from '@tanstack/react-router';
import { useState } from 'react';
import { api, must, once } from '../api/client';
import { bytes, clock, Facts, Foreign, Loading, num, Page, Panel, percent, Scroll, Word } from '../ui/bits';
import { Confirm } from '../ui/Confirm';

const route = getRouteApi('/plans/$plan');
export default function PlanPage() {
  const { plan: id } = route.useParams();
  const navigate = useNavigate();
  const [reason, setReason] = useState('');
  const { data: p, error } = useQuery({ queryKey: ['plan', id], queryFn: () => must(api.GET('/api/v1/plans/{plan}', { params: { path: { plan: id } } })), refetchInterval: 5_000 });
  const path = { plan: p?.hash.slice(7) ?? id };
  const decide = useMutation({ mutationFn: (verb: 'approve' | 'reject') => must(api.POST(`/api/v1/plans/{plan}/${verb}`, { params: { path, header: once() }, body: { reason } })) });
  const apply = useMutation({
    mutationFn: (phrase: string) => must(api.POST('/api/v1/plans/{plan}/apply', { params: { path, header: { ...once(), 'If-Match': `"${p!.hash}"` } }, body: { phrase } })),
    onSuccess: (o) => navigate({ to: '/runs/$run', params: { run: o.id } }),
  });
  if (!p) return <Loading error={error} />;
  const waves = p.limits.waves_bps.map((w) => Math.max(1, Math.ceil((p.messages * w) / 10_000)));
  const open = p.state === 'proposed' || p.state === 'approved';
  const expired = new Date(p.expires).getTime() < Date.now();
  const why = open && p.messages === 0 ? 'No message reached the confidence needed: there is nothing to apply.' : !open ? `The plan is ${p.state}: it can be applied once.` : expired ? 'The plan has expired. Make a new one on the tenant\u2019s page.' : '';
  const facts: [string, React.ReactNode][] = [['Messages set aside', num(p.messages)], ['Of the messages seen', percent(p.messages, p.messages_seen)], ['Queues', num(p.queues.length)], ['Content', bytes(p.bytes)], ['Valid until', clock(p.expires)], ['Asked by', p.requester]];
  return (
    <Page title={<>Plan <span className="mono">{p.id}</span></>} sub={<><Word w={p.state} /> {p.skill} for <Link to="/tenants/$tenant" params={{ tenant: p.tenant }}>{p.tenant}</Link></>}
      actions={!why && <Confirm trigger="Review and apply…" title={`Apply plan ${p.id}`} phrase={`apply ${p.id}`} action={`Set aside ${num(p.messages)} messages`} busy={apply.isPending} onConfirm={(t) => apply.mutate(t)}>
        <Facts rows={facts.slice(0, 4)} />
        <p>An encrypted snapshot is written, synced and read back before the first removal. Every message can be put back; streams give new ids, lists put them at the tail.</p>
        <p className="dim mono cut">{p.hash}</p>
      </Confirm>}>
      {why && <div className="alert risk" role="status">{why}</div>}
      {(apply.error ?? decide.error) && <div role="alert" className="alert breach">{(apply.error ?? decide.error)!.message}</div>}
      <Facts rows={facts} />
      <Panel title="Why">{p.signatures.map((s) => <div className="pad2" key={s.kind + s.path}><p><Link to="/findings/$finding" params={{ finding: s.finding_id }}><Foreign text={s.signature} /></Link>: {num(s.count)} messages, confidence {(s.confidence_bps / 10_000).toFixed(4)}, at least {(s.lower_bound_bps / 10_000).toFixed(4)}</p><p className="dim"><Foreign text={s.explanation} /></p></div>)}</Panel>
      <Panel title="What"><Scroll label="What"><table className="list"><thead><tr><th>From</th><th>To quarantine</th><th className="num">Messages</th><th className="num">Of the queue</th></tr></thead><tbody>{p.queues.map((q) => <tr key={`${q.broker}/${q.name}`}><td><Foreign text={`${q.broker}/${q.name}`} /></td><td><Foreign text={q.quarantine} /></td><td className="num">{num(q.messages)}</td><td className="num">{percent(q.messages, q.entries)}</td></tr>)}</tbody></table></Scroll></Panel>
      <Panel title="How"><ol className="lines num-list"><li>Snapshot every queue: encrypt, sync, read back and compare.</li>{waves.map((n, i) => <li key={n + '/' + i}>Wave {i + 1}: up to {num(n)} messages in all ({p.limits.waves_bps[i]! / 100}%), then the counts must add up.</li>)}<li>Compare the quarantine with the snapshot, message by message; sign the audit log.</li></ol></Panel>
      <Panel title="What it cannot undo"><ul className="lines"><li>A message that a consumer takes before its wave is left alone and counted as gone.</li><li>Messages put back by a rollback come after those that are there now.</li></ul></Panel>
      <Panel title="Decision" side={p.decided_by && <span className="dim">{p.state} by {p.decided_by}{p.reason && <>: <Foreign text={p.reason} /></>}</span>}>
        {p.state === 'proposed' && !expired ? (
          <form className="pad2 row-form" onSubmit={(e) => { e.preventDefault(); decide.mutate('approve'); }}>
            <label htmlFor="reason">Reason, for the audit log</label>
            <input id="reason" className="in" required maxLength={500} value={reason} onChange={(e) => setReason(e.target.value)} />
            <button type="submit" className="btn primary" disabled={!reason || decide.isPending}>Approve</button>
            <button type="button" className="btn" disabled={!reason || decide.isPending} onClick={() => decide.mutate('reject')}>Reject</button>
          </form>
        ) : <p className="pad2 dim">{p.state === 'proposed' ? 'Nobody decided in time.' : `The plan is ${p.state}.`}</p>}
      </Panel>
    </Page>
  );
}
