import { useQuery, useQueryClient } from '@tanstack/react-query';
import { getRouteApi, Link, useNavigate } from '@tanstack/react-router';
import { useVirtualizer } from '@tanstack/react-virtual';
import { memo, useDeferredValue, useEffect, useMemo, useRef, useState } from 'react';
import { api, must, type State, type Tenants } from '../api/client';
import { forget, useDirty, useRow } from '../rows';
import { compact, dur, Empty, Loading, num, StateBadge, stateLabel } from '../ui/bits';

const ROW = 36;
const STATES: [State, string][] = [['breach', 'beyond their SLA'], ['at_risk', 'at 80% of a limit, or with symptoms'], ['unknown', 'no queue seen'], ['ok', 'within their SLA']];
const route = getRouteApi('/');

type One = { id: string; tier: string; state: State; backlog: number; oldest: number | null; maxAge: number | null; maxBacklog: number | null; drain: number | null; poison: number; worst: string };
const byRow = (t: Tenants): One[] => t.id.map((id, i) => ({ id, tier: t.tier[i]!, state: t.state[i]!, backlog: t.backlog[i]!, oldest: t.oldest_age_ms[i] ?? null, maxAge: t.max_age_ms[i] ?? null, maxBacklog: t.max_backlog[i] ?? null, drain: t.time_to_drain_ms[i] ?? null, poison: t.poison[i]!, worst: t.worst[i]! }));

const Row = memo(function Row({ t, i, active }: { t: One; i: number; active: boolean }) {
  const row = useRow(t.id);
  const [state, backlog, oldest, drain] = row ? [row[1], row[3], row[5], row[6]] : [t.state, t.backlog, t.oldest, t.drain];
  return (
    <tr className="row" id={`r${i}`} role="row" aria-rowindex={i + 2} aria-selected={active}>
      <td role="gridcell"><StateBadge s={state} /></td>
      <td role="gridcell"><Link to="/tenants/$tenant" params={{ tenant: t.id }} tabIndex={-1}>{t.id}</Link></td>
      <td role="gridcell" className="dim">{t.tier}</td>
      <td role="gridcell" className="num">{num(backlog)} <span className="dim">/ {t.maxBacklog === null ? '–' : compact(t.maxBacklog)}</span></td>
      <td role="gridcell" className="num">{dur(oldest)} <span className="dim">/ {dur(t.maxAge)}</span></td>
      <td role="gridcell" className="num">{dur(drain)}</td>
      <td role="gridcell" className="num">{t.poison ? <b className="bad">{num(t.poison)}</b> : <span className="dim">0</span>}</td>
      <td role="gridcell" className="dim">{t.worst}</td>
    </tr>
  );
});

export default function Fleet() {
  const queries = useQueryClient();
  const navigate = useNavigate();
  const search = route.useNavigate();
  const { q = '', state = '' } = route.useSearch();
  const { data, error } = useQuery({ queryKey: ['tenants'], queryFn: async () => {
    const list = await must(api.GET('/api/v1/tenants'));
    forget(list.evaluation);
    return list;
  }, staleTime: Infinity, refetchInterval: (query) => (query.state.data?.evaluation ? false : 1_000) });
  const all = useMemo(() => (data ? byRow(data) : []), [data]);
  const dirty = useDirty();
  const wanted = useDeferredValue(q.toLowerCase());
  const shown = useMemo(() => all.filter((t) => (!state || t.state === state) && (!wanted || t.id.toLowerCase().includes(wanted))), [all, wanted, state]);
  const counts = useMemo(() => {
    const out: Partial<Record<State, number>> = {};
    for (const t of all) out[t.state] = (out[t.state] ?? 0) + 1;
    return out;
  }, [all]);
  const [active, setActive] = useState(0);
  const box = useRef<HTMLDivElement>(null);
  const virtual = useVirtualizer({ count: shown.length, getScrollElement: () => box.current, estimateSize: () => ROW, overscan: 10, scrollPaddingStart: 32 });
  const items = virtual.getVirtualItems();
  const rank = () => void queries.refetchQueries({ queryKey: ['tenants'] });
  useEffect(() => setActive(0), [state, wanted]);
  if (!data) return <Loading error={error} />;

  const go = (n: number) => {
    const to = Math.max(0, Math.min(shown.length - 1, n));
    setActive(to);
    virtual.scrollToIndex(to, { align: 'auto' });
  };
  const onKey = (e: React.KeyboardEvent) => {
    const step = { j: 1, ArrowDown: 1, k: -1, ArrowUp: -1, PageDown: 15, PageUp: -15, Home: -shown.length, End: shown.length }[e.key];
    if (step) {
      e.preventDefault();
      go(active + step);
    } else if (e.key === 'r') rank();
    else if (e.key === 'Enter' && shown[active]) void navigate({ to: '/tenants/$tenant', params: { tenant: shown[active].id } });
  };
  const set = (next: { q?: string; state?: string }) => void search({ search: () => ({ ...(next.q ? { q: next.q } : {}), ...(next.state ? { state: next.state } : {}) }), replace: true });
  return (
    <>
      <div className="head">
        <h1>Fleet</h1><span className="dim">{num(all.length)} tenants, worst first</span><span className="grow" />
        {dirty && <button type="button" className="btn ghost" onClick={rank}>Values changed: rank again <kbd>r</kbd></button>}
        <label><span className="sr">Filter tenants</span><input className="in" type="search" placeholder="Filter tenants  ( / )" id="filter" value={q} onChange={(e) => set({ q: e.target.value, state })} /></label>
      </div>
      <div className="body fill">
        <div className="stats" role="group" aria-label="Filter by state">
          {STATES.map(([s, words]) => <button key={s} type="button" className="panel stat" aria-pressed={state === s} onClick={() => set({ q, state: state === s ? '' : s })}><StateBadge s={s} /><b>{num(counts[s] ?? 0)}</b><span className="dim">{words}</span></button>)}
          <div className="panel stat"><span className="dim">Messages waiting</span><b>{compact(all.reduce((sum, t) => sum + t.backlog, 0))}</b><span className="dim">{compact(all.reduce((sum, t) => sum + t.poison, 0))} of them poison</span></div>
        </div>
        {shown.length === 0 ? (
          <Empty title={all.length === 0 ? (data.evaluation === 0 ? 'The agent has not looked yet.' : 'No tenant is configured.') : 'No tenant matches the filter.'}>
            {all.length > 0 && <button type="button" className="btn" onClick={() => set({})}>Clear the filter</button>}
          </Empty>
        ) : (
          <div ref={box} className="panel grid" id="scroller" tabIndex={0} role="grid" aria-label="Tenants, worst first" aria-rowcount={shown.length + 1} aria-activedescendant={`r${active}`} onKeyDown={onKey}>
            <table role="presentation">
              <colgroup><col className="c-state" /><col className="c-name" /><col className="c-tier" /><col className="c-wide" /><col className="c-wide" /><col className="c-num" /><col className="c-num" /><col /></colgroup>
              <thead role="rowgroup"><tr role="row" aria-rowindex={1}>{['State', 'Tenant', 'Tier', 'Backlog / SLA', 'Oldest / SLA', 'Drains in', 'Poison', 'Worst'].map((h, i) => <th key={h} role="columnheader" className={i > 2 && i < 7 ? 'num' : ''}>{h}</th>)}</tr></thead>
              <tbody role="rowgroup">
                <tr className="pad" role="presentation"><td role="presentation" colSpan={8} style={{ height: items[0]?.start ?? 0 }} /></tr>
                {items.map((it) => <Row key={shown[it.index]!.id} t={shown[it.index]!} i={it.index} active={it.index === active} />)}
                <tr className="pad" role="presentation"><td role="presentation" colSpan={8} style={{ height: virtual.getTotalSize() - (items.at(-1)?.end ?? 0) }} /></tr>
              </tbody>
            </table>
          </div>
        )}
        <p className="sr" role="status">{shown.length} tenants{state ? `, ${stateLabel(state as State)}` : ''}</p>
      </div>
    </>
  );
}
