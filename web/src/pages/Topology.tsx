import { useQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { api, must } from '../api/client';
import { Empty, Foreign, Loading, num, Page, Panel, Scroll } from '../ui/bits';

const SHOWN = 50;
/** Worst tenants first, never the whole fleet: broker, queue, groups and where dead letters go, in one row a queue. */
export default function Topology() {
  const { data, error } = useQuery({ queryKey: ['topology'], queryFn: () => must(api.GET('/api/v1/topology', { params: { query: { limit: SHOWN } } })) });
  if (!data) return <Loading error={error} />;
  return (
    <Page title="Topology" sub={`${num(data.tenants.length)} of ${num(data.total)} tenants, worst first`}>
      {data.tenants.length === 0 && <Empty title="The agent has not seen a queue yet." />}
      {data.tenants.map((t) => (
        <Panel key={t.id} title={t.id} side={<Link to="/tenants/$tenant" params={{ tenant: t.id }}>open</Link>}>
          {t.queues.length === 0 ? <Empty title="No queue matches this tenant." /> : (
            <Scroll label={t.id}><table className="list"><thead><tr><th>Broker</th><th>Queue</th><th className="num">Backlog</th><th>Read by</th><th>Dead letters to</th></tr></thead>
              <tbody>{t.queues.map((q) => <tr key={`${q.broker}/${q.name}`}><td>{q.broker}</td><td><Link to="/queues/$broker/$queue" params={{ broker: q.broker, queue: q.name }}><Foreign text={q.name} /></Link> <span className="dim">{q.type}</span></td><td className="num">{num(q.backlog)}</td><td className="wrap">{q.groups.length === 0 ? <span className="dim">nobody</span> : q.groups.map((g) => <span key={g.name} className={`badge ${g.consumers ? 'unknown' : 'at_risk'}`} title={`${g.consumers} consumers, ${num(g.lag)} behind`}><Foreign text={g.name} /> {g.consumers}×</span>)}</td><td>{q.dead_letter === null ? <span className="dim">–</span> : <Foreign text={q.dead_letter} />}</td></tr>)}</tbody></table></Scroll>
          )}
        </Panel>
      ))}
    </Page>
  );
}
