import { useMutation, useQuery } from '@tanstack/react-query';
import { getRouteApi, Link, useNavigate } from '@tanstack/react-router';
import { api, must, once } from '../api/client';
import { clock, dur, Empty, Facts, Foreign, Loading, num, Page, Panel, Scroll, StateBadge, Word } from '../ui/bits';

const route = getRouteApi('/tenants/$tenant');
export default function TenantPage() {
  const { tenant } = route.useParams();
  const navigate = useNavigate();
  const { data, error } = useQuery({ queryKey: ['tenant', tenant], queryFn: () => must(api.GET('/api/v1/tenants/{tenant}', { params: { path: { tenant } } })) });
  const plans = useQuery({ queryKey: ['plans', tenant], queryFn: () => must(api.GET('/api/v1/plans', { params: { query: { tenant } } })), refetchInterval: 5_000 });
  const findings = useQuery({ queryKey: ['findings', tenant], queryFn: () => must(api.GET('/api/v1/findings', { params: { query: { tenant } } })), refetchInterval: 5_000 });
  const runs = useQuery({ queryKey: ['executions', tenant], queryFn: () => must(api.GET('/api/v1/executions', { params: { query: { tenant } } })) });
  const scan = useMutation({ mutationFn: () => must(api.POST('/api/v1/scans', { params: { header: once() }, body: { tenant } })), onSuccess: (o) => navigate({ to: '/runs/$run', params: { run: o.id } }) });
  const plan = useMutation({ mutationFn: () => must(api.POST('/api/v1/plans', { params: { header: once() }, body: { tenant } })), onSuccess: (o) => navigate({ to: '/runs/$run', params: { run: o.id } }) });
  if (!data) return <Loading error={error} />;
  const { health, sla } = data;
  return (
    <Page title={data.id} sub={<><StateBadge s={data.state} /> {data.tier}, autonomy {data.autonomy}, skill {data.skill}</>} actions={<><button type="button" className="btn" disabled={scan.isPending} onClick={() => scan.mutate()}>Scan for poison</button><button type="button" className="btn primary" disabled={plan.isPending} onClick={() => plan.mutate()}>Make a plan</button></>}>
      {(scan.error ?? plan.error) && <div role="alert" className="alert breach">{(scan.error ?? plan.error)!.message}</div>}
      <Facts rows={[['Backlog / SLA', `${num(health.backlog)} / ${sla.max_backlog === null ? '–' : num(sla.max_backlog)}`], ['Oldest / SLA', `${dur(health.oldest_age_ms)} / ${dur(sla.max_age_ms)}`], ['Held by consumers', num(health.held)], ['Drains in / SLA', `${dur(health.time_to_drain_ms)} / ${dur(sla.drain_within_ms)}`]]} />
      {health.symptoms.length > 0 && <Panel title="What no threshold shows"><ul className="lines">{health.symptoms.map((s, i) => <li key={i}><span className="badge breach">{s.kind.replace('_', ' ')}</span> <Foreign text={s.queue.name} />: {s.words}</li>)}</ul></Panel>}
      {health.breaches.length > 0 && <Panel title="What is beyond the SLA"><ul className="lines">{health.breaches.map((b, i) => <li key={i}><span className="badge breach">{b.what}</span> {b.actual} against {b.limit}, over by {num(Math.round(b.over_bps / 100))}%{b.queue && <> in <Foreign text={b.queue.name} /></>}</li>)}</ul></Panel>}
      <Panel title="Plans">{plans.data?.plans.length ? <ul className="lines">{plans.data.plans.map((p) => <li key={p.hash}><Word w={p.state} /> <Link to="/plans/$plan" params={{ plan: p.id }}>{p.id}</Link> sets aside {num(p.messages)} of {num(p.messages_seen)} messages, by {p.requester}, {clock(p.created)}</li>)}</ul> : <Empty title="No plan yet." />}</Panel>
      <Panel title="Queues"><Scroll label="Queues"><table className="list"><thead><tr><th>Queue</th><th>Type</th><th className="num">Backlog</th><th className="num">Held</th><th className="num">Oldest</th><th className="num">Groups</th><th className="num">Consumers</th></tr></thead><tbody>{data.queues.map((x) => <tr key={`${x.broker}/${x.name}`}><td><Link to="/queues/$broker/$queue" params={{ broker: x.broker, queue: x.name }}><Foreign text={`${x.broker}/${x.name}`} /></Link></td><td>{x.type}</td><td className="num">{num(x.backlog)}</td><td className="num">{num(x.held)}</td><td className="num">{dur(x.oldest_age_ms)}</td><td className="num">{x.groups.length}</td><td className="num">{x.consumers.length}</td></tr>)}</tbody></table></Scroll></Panel>
      <Panel title="Findings">{findings.data?.findings.length ? <ul className="lines">{findings.data.findings.map((f) => <li key={f.finding_id}><Link to="/findings/$finding" params={{ finding: f.finding_id }}><Foreign text={f.signature} /></Link> in {num(f.count)} messages, at least {f.lower_bound.toFixed(4)} sure</li>)}</ul> : <Empty title="Nothing was found so far." />}</Panel>
      <Panel title="Runs">{runs.data?.executions.length ? <ul className="lines">{runs.data.executions.map((r) => <li key={r.execution_id}><Word w={r.state} /> <Link to="/runs/$run" params={{ run: r.execution_id }}>{r.execution_id}</Link> {clock(r.timestamp)}</li>)}</ul> : <Empty title="Nothing was done here yet." />}</Panel>
    </Page>
  );
}
