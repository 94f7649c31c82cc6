import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { getRouteApi, Link, useNavigate } from '@tanstack/react-router';
import { api, must, once, type Operation, type Stage } from '../api/client';
import { clock, dur, Empty, Facts, Foreign, Loading, num, Page, Panel, Word } from '../ui/bits';
import { Confirm } from '../ui/Confirm';

const STAGES = ['topology_analysis', 'poison_detection', 'threshold_evaluation', 'drain_execution', 'consumer_recovery'];
const KINDS_WITH_STAGES = new Set(['apply', 'remediate']);
const route = getRouteApi('/runs/$run');

/** The five stages: what ended with its words, what runs with its bar, what is still to come. */
function Rail({ stages, now }: { stages: Stage[]; now?: Operation | undefined }) {
  return (
    <ol className="rail">{STAGES.map((name) => {
      const done = stages.find((s) => s.stage === name);
      const running = now?.state === 'running' && now.stage === name;
      return (
        <li key={name} data-s={done ? done.status : running ? 'running' : 'waiting'}>
          <span className="n" aria-hidden />
          <div><b>{name.replaceAll('_', ' ')}</b>{done && <p className="dim"><Foreign text={done.output} /></p>}
            {running && <Bar o={now} />}</div>
          <span className="side">{done ? <><Word w={done.status} /> {dur(done.duration_ms)}</> : running ? <Word w="running" /> : <span className="dim">{now && !now.ended ? 'to come' : 'not part of this run'}</span>}</span>
        </li>
      );
    })}</ol>
  );
}
const Bar = ({ o }: { o: Operation }) => o.total > 0 ? <><progress max={o.total} value={o.done} aria-label={o.stage} /><span className="num">{num(o.done)} of {num(o.total)}</span></> : <progress aria-label={o.stage} />;

/** A run is an operation (op-3) while the agent remembers it, or the execution it became. */
export default function Run() {
  const { run } = route.useParams();
  const isOperation = run.startsWith('op-');
  const ops = useQuery({ queryKey: ['operations'], queryFn: () => must(api.GET('/api/v1/operations')), refetchInterval: 5_000 });
  const o = ops.data?.operations.find((x) => (isOperation ? x.id === run : x.execution_id === run));
  const execution = isOperation ? o?.execution_id : run;
  const record = useQuery({ queryKey: ['execution', execution, o?.state], enabled: !!execution, retry: 1, queryFn: () => must(api.GET('/api/v1/executions/{execution}', { params: { path: { execution: execution! } } })) });
  if (!o && !record.data) return ops.data && isOperation ? <div className="body"><Empty title="The agent does not remember this operation." ><Link to="/runs">All runs</Link></Empty></div> : <Loading error={record.error} />;
  const r = record.data;
  const stages = r && r.stages.length >= (o?.stages.length ?? 0) ? r.stages : (o?.stages ?? []);
  const staged = r !== undefined || (o !== undefined && KINDS_WITH_STAGES.has(o.kind));
  return (
    <Page title={r && o?.kind !== 'rollback' ? r.execution_id : `${o?.kind ?? ''} ${o?.id ?? run}`} sub={<><Word w={o && !o.ended ? o.state : (r?.state ?? o!.state)} /> <Link to="/tenants/$tenant" params={{ tenant: r?.tenant_id ?? o!.tenant }}>{r?.tenant_id ?? o!.tenant}</Link>{o && <>, asked by {o.actor}</>}</>} actions={r && <Undo execution={r.execution_id} rollbackKey={r.remediation_record.rollback_key} removed={r.remediation_record.messages_removed} state={r.state} />}>
      {o?.error && <div role="alert" className="alert breach"><Foreign text={`${o.error.op}: ${o.error.detail}`} /></div>}
      {r?.reason && <div role="status" className="alert risk"><Foreign text={r.reason} /></div>}
      {r && r.remediation_record.messages_removed > 0 && <Facts rows={[['Removed', num(r.remediation_record.messages_removed)], ['Preserved', num(r.remediation_record.messages_preserved)], ['Downtime prevented', r.remediation_record.estimated_downtime_prevented], ['Rollback key', <span key="k" className="mono">{r.remediation_record.rollback_key}</span>]]} />}
      {staged && <Panel title="Stages"><Rail stages={stages} now={o} /></Panel>}
      {o && !staged && <Panel title="Progress"><div className="pad2">{o.ended ? <Outcome o={o} /> : <><p>{o.stage ? o.stage.replaceAll('_', ' ') : o.state === 'queued' ? 'Waiting for the agent' : 'Working'}</p><Bar o={o} /></>}</div></Panel>}
      {o && o.kind === 'rollback' && staged && <Panel title="Rollback"><div className="pad2">{o.ended ? <Outcome o={o} /> : <Bar o={o} />}</div></Panel>}
      {o && o.notes.length > 0 && <Panel title="Notes"><ul className="lines">{o.notes.map((n, i) => <li key={i}><Foreign text={n} /></li>)}</ul></Panel>}
      {r && <Panel title="Proof"><p className="pad2">Compliance fingerprint <span className="mono cut">{r.remediation_record.compliance_fingerprint || 'none: nothing was removed'}</span><br /><Link to="/audit">Check it in the audit log</Link></p></Panel>}
      {o && <p className="dim">Asked {clock(o.created)}{o.ended && <>, ended {clock(o.ended)}</>}.</p>}
    </Page>
  );
}

type Result = { hash?: string; findings?: unknown[]; messages_seen?: number; restored?: number; already_present?: number; failed?: number; order?: string };
function Outcome({ o }: { o: Operation }) {
  const { data } = useQuery({ queryKey: ['result', o.id], enabled: o.state === 'done', retry: false, queryFn: async () => (await must(api.GET('/api/v1/operations/{operation}/result', { params: { path: { operation: o.id } } }))) as Result });
  if (o.state !== 'done') return <p>{o.state === 'cancelled' ? 'Taken back before it began.' : 'It failed; nothing is hidden above.'}</p>;
  if (o.kind === 'plan' && data?.hash) return <p>The plan is ready: <Link to="/plans/$plan" params={{ plan: data.hash.slice(7, 19) }}>{data.hash.slice(7, 19)}</Link></p>;
  if (o.kind === 'scan' && data?.findings) return <p>{num(data.findings.length)} findings in {num(data.messages_seen ?? 0)} messages; nothing was removed. <Link to="/findings">Findings</Link></p>;
  if (o.kind === 'rollback' && data?.restored !== undefined) return <p>{num(data.restored)} messages restored, {num(data.already_present ?? 0)} were there already, {num(data.failed ?? 0)} failed; order: {data.order}.</p>;
  return <p>Done.</p>;
}

function Undo({ execution, rollbackKey, removed, state }: { execution: string; rollbackKey: string; removed: number; state: string }) {
  const navigate = useNavigate();
  const queries = useQueryClient();
  const undo = useMutation({
    mutationFn: (phrase: string) => must(api.POST('/api/v1/rollbacks', { params: { header: once() }, body: { rollback_key: rollbackKey, phrase } })),
    onSuccess: (o) => { void queries.invalidateQueries({ queryKey: ['operations'] }); return navigate({ to: '/runs/$run', params: { run: o.id } }); },
  });
  if (!removed || state === 'rolled_back' || state === 'running') return null;
  return (
    <>
      {undo.error && <span role="alert" className="badge breach">{undo.error.message}</span>}
      <Confirm trigger="Roll back…" title={`Roll back ${execution}`} phrase={`roll back ${rollbackKey}`} action={`Put back ${num(removed)} messages`} busy={undo.isPending} onConfirm={(t) => undo.mutate(t)}>
        <p>Every message that this execution set aside goes back to its queue, at the tail. Consumers will meet it again: what made it poison is still in it.</p>
      </Confirm>
    </>
  );
}
