import { useQuery } from '@tanstack/react-query';
import { api, must } from '../api/client';
import { Foreign, Loading, num, Page, Panel } from '../ui/bits';

export default function Skills() {
  const { data, error } = useQuery({ queryKey: ['skills'], queryFn: () => must(api.GET('/api/v1/skills')), staleTime: Infinity });
  if (!data) return <Loading error={error} />;
  return (
    <Page title="Skills" sub="the protocols that the agent executes; a plan pins the text of its skill">
      {data.skills.map((s) => (
        <Panel key={s.name} title={s.name} side={<span className={`badge ${s.removes ? 'at_risk' : 'ok'}`}>{s.removes ? `sets aside up to ${num(s.max_messages)} messages, waves ${s.waves_bps.map((w) => `${w / 100}%`).join(' ')}` : 'removes nothing'}</span>}>
          <div className="pad2"><p>{s.description}</p><details><summary>Protocol</summary><pre className="sample" aria-label={`Protocol of ${s.name}`}><Foreign text={s.block} /></pre><p className="dim mono cut">{s.block_hash}</p></details></div>
        </Panel>
      ))}
    </Page>
  );
}
