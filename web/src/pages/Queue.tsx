import { useQuery } from '@tanstack/react-query';
import { getRouteApi, Link } from '@tanstack/react-router';
import { useMemo } from 'react';
import { api, must } from '../api/client';
import { compact, dur, Empty, Facts, Foreign, Loading, num, Page, Panel, Scroll } from '../ui/bits';
import Chart from '../ui/Chart';

const route = getRouteApi('/queues/$broker/$queue');
export default function QueuePage() {
  const path = route.useParams();
  const { data, error } = useQuery({ queryKey: ['queue', path.broker, path.queue], queryFn: () => must(api.GET('/api/v1/queues/{broker}/{queue}', { params: { path } })) });
  const history = data?.history;
  const lines = useMemo(() => (history ? [{ label: 'Backlog', values: history.backlog, color: '--accent' }, { label: 'Held', values: history.held, color: '--risk' }] : []), [history]);
  if (!data) return <Loading error={error} />;
  const q = data.queue;
  const points = data.history.at_s.length;
  return (
    <Page title={<Foreign text={q.name} />} sub={<>{q.type} on {q.broker}, of <Link to="/tenants/$tenant" params={{ tenant: data.tenant.id }}>{data.tenant.id}</Link></>}>
      <Facts rows={[['Backlog', num(q.backlog)], ['Held', num(q.held)], ['Oldest / SLA', `${dur(q.oldest_age_ms)} / ${dur(data.tenant.sla.max_age_ms)}`], ['Dead letters to', q.dead_letter === null ? '–' : <Foreign text={q.dead_letter} />]]} />
      <Panel title="Backlog, last hour" side={<span className="dim">{points} samples</span>}>{points < 2 ? <Empty title="Not enough samples yet." /> : <div className="pad2"><Chart t={data.history.at_s} lines={lines} height={220} unit={compact} title={`Backlog from ${num(data.history.backlog[0]!)} to ${num(data.history.backlog.at(-1)!)} messages`} /></div>}</Panel>
      <Panel title="Consumer groups">{q.groups.length === 0 ? <Empty title="No group reads this queue." /> : <Scroll label="Consumer groups"><table className="list"><thead><tr><th>Group</th><th className="num">Consumers</th><th className="num">Pending</th><th className="num">Lag</th><th>Last delivered</th></tr></thead><tbody>{q.groups.map((g) => <tr key={g.name}><td><Foreign text={g.name} /></td><td className="num">{g.consumers}</td><td className="num">{num(g.pending)}</td><td className="num">{g.lag_exact ? '' : '≈ '}{num(g.lag)}</td><td className="mono">{g.last_delivered}</td></tr>)}</tbody></table></Scroll>}</Panel>
      <Panel title="Consumers">{q.consumers.length === 0 ? <Empty title="Nobody is connected." /> : <Scroll label="Consumers"><table className="list"><thead><tr><th>Consumer</th><th>Group</th><th className="num">Pending</th><th className="num">Idle</th></tr></thead><tbody>{q.consumers.map((c) => <tr key={`${c.group}/${c.name}`}><td><Foreign text={c.name} /></td><td><Foreign text={c.group} /></td><td className="num">{num(c.pending)}</td><td className="num">{dur(c.idle_ms)}</td></tr>)}</tbody></table></Scroll>}</Panel>
      <p className="dim">Looking at this queue {q.look.changes_nothing ? 'changes nothing' : 'hides messages while we look'}, {q.look.sees_all ? 'sees every message' : 'does not see every message'} and {q.look.keeps_order ? 'keeps their order' : 'may change their order'}. {q.look.caveat}</p>
      {q.look.refusal !== '' && <p>Not looked at: {q.look.refusal}</p>}
      {q.look.no_removal !== '' && <p>Nothing is removed from it: {q.look.no_removal}</p>}
    </Page>
  );
}
