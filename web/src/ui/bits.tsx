import { AlertOctagon, AlertTriangle, CheckCircle2, HelpCircle } from 'lucide-react';
import type { ReactNode } from 'react';
import type { State } from '../api/client';

const STATES = { breach: ['SLA breach', AlertOctagon], at_risk: ['At risk', AlertTriangle], ok: ['Healthy', CheckCircle2], unknown: ['No data', HelpCircle] } as const;
export const stateLabel = (s: State) => STATES[s][0];
export function StateBadge({ s }: { s: State }) {
  const [label, Icon] = STATES[s];
  return <span className={`badge ${s}`}><Icon size={12} aria-hidden />{label}</span>;
}

const TONE: Record<string, string> = { completed: 'ok', complete: 'ok', done: 'ok', approved: 'ok', applied: 'ok', running: 'run', queued: 'unknown', proposed: 'at_risk', held: 'at_risk', refused: 'at_risk', rejected: 'at_risk', asking: 'at_risk', rolled_back: 'unknown', skipped: 'unknown', cancelled: 'unknown', failed: 'breach' };
export const Word = ({ w }: { w: string }) => <span className={`badge ${TONE[w] ?? 'unknown'}`}>{w.replaceAll('_', ' ')}</span>;

const whole = new Intl.NumberFormat('en');
const short = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 });
export const num = (n: number) => whole.format(n);
export const compact = (n: number) => short.format(n);
export const percent = (part: number, all: number) => (all ? `${((100 * part) / all).toFixed(2)}%` : '–');
export const bytes = (n: number) => (n < 1024 ? `${n} B` : n < 1 << 20 ? `${(n / 1024).toFixed(1)} KiB` : `${(n / (1 << 20)).toFixed(1)} MiB`);
export function dur(ms: number | null | undefined) {
  if (ms === null || ms === undefined) return '–';
  if (ms < 1000) return `${ms}ms`;
  const s = Math.round(ms / 1000);
  if (s < 60) return `${s}s`;
  if (s < 3600) return `${Math.floor(s / 60)}m ${String(s % 60).padStart(2, '0')}s`;
  if (s < 86_400) return `${Math.floor(s / 3600)}h ${String(Math.floor((s % 3600) / 60)).padStart(2, '0')}m`;
  return `${Math.floor(s / 86_400)}d ${Math.floor((s % 86_400) / 3600)}h`;
}
export const clock = (iso: string) => <time dateTime={iso} title={iso}>{iso.slice(0, 10)} {iso.slice(11, 19)}Z</time>;

/** Foreign text as text: what the server escaped stays as it is; what slipped through becomes a visible token. */
const HOSTILE = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/;
const MAX_SHOWN = 4_000;
export function Foreign({ text }: { text: string }) {
  const out: ReactNode[] = [];
  let run = '';
  for (const c of text.slice(0, MAX_SHOWN)) {
    if (!HOSTILE.test(c)) {
      run += c;
      continue;
    }
    out.push(run, <span key={out.length} className="ctl">{`U+${c.codePointAt(0)!.toString(16).toUpperCase().padStart(4, '0')}`}</span>);
    run = '';
  }
  return <>{out}{run}{text.length > MAX_SHOWN && <span className="ctl">cut off</span>}</>;
}

/** Says which of the three it is: nothing wrong, no data yet, or filtered out. */
export const Empty = ({ title, children }: { title: string; children?: ReactNode }) => <div className="empty"><b>{title}</b>{children && <p>{children}</p>}</div>;

export function Page({ title, sub, actions, children }: { title: ReactNode; sub?: ReactNode; actions?: ReactNode; children: ReactNode }) {
  return (
    <>
      <div className="head"><h1>{title}</h1>{sub && <span className="dim">{sub}</span>}<span className="grow" />{actions}</div>
      <div className="body">{children}</div>
    </>
  );
}
export const Panel = ({ title, side, children }: { title: string; side?: ReactNode; children: ReactNode }) => (
  <section className="panel" aria-label={title}><header><h2>{title}</h2><span className="grow" />{side}</header>{children}</section>
);
export const Facts = ({ rows }: { rows: [string, ReactNode][] }) => <dl className="facts">{rows.map(([k, v]) => <div key={k}><dt>{k}</dt><dd>{v}</dd></div>)}</dl>;
export const Loading = ({ error }: { error?: Error | null }) => error ? <div className="body"><div role="alert" className="alert breach"><Foreign text={error.message} /></div></div> : <p className="body dim" role="status">Loading…</p>;
/** A table that scrolls sideways within itself on a narrow screen. */
export const Scroll = ({ label, children }: { label: string; children: ReactNode }) => <div className="scroll" role="region" aria-label={`${label}: table`} tabIndex={0}>{children}</div>;
