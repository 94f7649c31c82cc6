import { CSPProvider } from '@base-ui/react/csp-provider';
import { QueryClient, QueryClientProvider, useMutation, useQuery } from '@tanstack/react-query';
import { createRootRoute, createRoute, createRouter, lazyRouteComponent, Link, Outlet, RouterProvider, useNavigate } from '@tanstack/react-router';
import { Activity, Archive, Bug, ClipboardCheck, FileClock, Gauge, Hand, KeyRound, Moon, Network, Wrench } from 'lucide-react';
import { StrictMode, useEffect, useState, useSyncExternalStore } from 'react';
import { createRoot } from 'react-dom/client';
import { api, must, type Operation, once } from './api/client';
import * as live from './live';
import * as rows from './rows';
import './styles.css';

const client = new QueryClient({ defaultOptions: { queries: { refetchOnWindowFocus: false, retry: 1, staleTime: 1_000 } } });

/** What an event makes out of date. Lists of tenants are not fetched again: rows change in place. */
live.subscribe((e) => {
  if (e.type === 'tenants') {
    const change = e.data as { evaluation: number; rows: rows.Row[]; more: boolean };
    rows.apply(change.rows, change.evaluation);
    for (const key of ['tenant', 'queue', 'topology', 'status']) void client.invalidateQueries({ queryKey: [key] });
  }
  if (e.type === 'operation') {
    const o = e.data as Operation;
    client.setQueryData<{ operations: Operation[] }>(['operations'], (all) => all && { operations: [o, ...all.operations.filter((x) => x.id !== o.id)].sort((a, b) => Number(b.id.slice(3)) - Number(a.id.slice(3))) });
    if (o.ended) for (const key of ['plans', 'plan', 'executions', 'execution', 'findings', 'audit', 'snapshots', 'operations']) void client.invalidateQueries({ queryKey: [key] });
  }
  if (e.type === 'brake') void client.invalidateQueries({ queryKey: ['status'] });
  if (e.type === 'resync') void client.invalidateQueries();
});

function Live() {
  const state = useSyncExternalStore(live.subscribeState, live.getState);
  const words = { live: 'Live', stale: 'Reconnecting: what you see may be old', connecting: 'Connecting' }[state];
  return <span className="live" data-s={state} role="status"><i aria-hidden /><span className="wide">{words}</span><span className="sr narrow">{words}</span></span>;
}

/** Always in reach and never behind a dialog: the brake stops before the next call to a broker. */
function Brake({ on }: { on: boolean }) {
  const pull = useMutation({
    mutationFn: () => must(api.POST('/api/v1/brake', { params: { header: once() }, body: { on: !on, reason: 'dashboard' } })),
    onSettled: () => client.invalidateQueries({ queryKey: ['status'] }),
  });
  return <button type="button" className={`btn ${on ? 'primary' : 'stop'}`} aria-pressed={on} disabled={pull.isPending} onClick={() => pull.mutate()}><Hand size={14} aria-hidden />{on ? 'Release brake' : 'Brake'}</button>;
}

const NAV = [
  ['/', 'Fleet', Gauge, 'f'], ['/findings', 'Findings', Bug, 'p'], ['/plans', 'Plans', ClipboardCheck, 'l'], ['/runs', 'Runs', Activity, 'r'],
  ['/topology', 'Topology', Network, 't'], ['/audit', 'Audit log', FileClock, 'a'], ['/snapshots', 'Snapshots', Archive, 'n'], ['/skills', 'Skills', Wrench, 's'], ['/access', 'Access', KeyRound, 'k'],
] as const;

/** `g` and a letter goes to a page, `/` to the filter, `?` shows this. Nothing destructive has a key. */
function useKeys(showSheet: (f: (v: boolean) => boolean) => void) {
  const navigate = useNavigate();
  useEffect(() => {
    let went = 0;
    const on = (e: KeyboardEvent) => {
      const target = e.target as HTMLElement;
      if (/INPUT|TEXTAREA|SELECT/.test(target.nodeName) || e.metaKey || e.ctrlKey || e.altKey || e.isComposing) return;
      if (e.key === '/') {
        e.preventDefault();
        document.getElementById('filter')?.focus();
      } else if (e.key === '?') showSheet((v) => !v);
      else if (e.key === 'Escape') showSheet(() => false);
      else if (e.key === 'g') went = Date.now();
      else if (Date.now() - went < 1_500) {
        const page = NAV.find((n) => n[3] === e.key);
        went = 0;
        if (page) void navigate({ to: page[0] });
      }
    };
    addEventListener('keydown', on);
    return () => removeEventListener('keydown', on);
  }, [navigate, showSheet]);
}

function Shell() {
  const [sheet, showSheet] = useState(false);
  useKeys(showSheet);
  const status = useQuery({ queryKey: ['status'], queryFn: () => must(api.GET('/api/v1/status')), refetchInterval: 10_000 });
  const flip = () => {
    const data = document.documentElement.dataset;
    data.theme = data.theme === 'dark' ? 'light' : 'dark';
    localStorage.setItem('theme', data.theme);
  };
  return (
    <div className="shell">
      <a className="skip" href="#main">Skip to the page</a>
      <header className="top">
        <Link to="/" className="brand"><img src="/icon.svg" width="18" height="18" alt="" />DeployClaw</Link>
        <span className="badge unknown wide">{status.data?.agent ?? '…'}</span>
        <span className="grow" />
        <Live />
        <button type="button" className="btn ghost" onClick={flip} aria-label="Switch theme"><Moon size={15} aria-hidden /></button>
        <button type="button" className="btn ghost wide" onClick={() => showSheet((v) => !v)} aria-expanded={sheet} aria-label="Keyboard shortcuts"><kbd>?</kbd></button>
        <Brake on={status.data?.brake ?? false} />
      </header>
      <nav className="nav" aria-label="Primary">{NAV.map(([to, label, Icon]) => <Link key={to} to={to} activeOptions={{ exact: to === '/', includeSearch: false }}><Icon size={15} aria-hidden /><span>{label}</span></Link>)}</nav>
      <main className="main" id="main" tabIndex={-1}>
        {status.data?.brake && <div role="alert" className="alert risk banner">The brake is on: the agent touches nothing until it is released.</div>}
        {status.data?.troubles.map((t) => <div key={t.broker} role="alert" className="alert breach banner">{t.broker} cannot be reached: {t.error.detail}</div>)}
        {sheet && <section className="panel sheet" aria-label="Keyboard shortcuts"><dl>{NAV.map(([, label, , key]) => <div key={key}><dt><kbd>g</kbd> <kbd>{key}</kbd></dt><dd>{label}</dd></div>)}<div><dt><kbd>/</kbd></dt><dd>Filter</dd></div><div><dt><kbd>j</kbd> <kbd>k</kbd> <kbd>Enter</kbd></dt><dd>Rows, open</dd></div><div><dt><kbd>r</kbd></dt><dd>Rank again</dd></div></dl></section>}
        <Outlet />
      </main>
    </div>
  );
}

const root = createRootRoute({ component: Shell, notFoundComponent: () => <div className="body"><h1>There is no such page</h1><p><Link to="/">Back to the fleet</Link></p></div> });
const under = () => root;
const text = (v: unknown) => (typeof v === 'string' && v ? v : undefined);
type FleetSearch = { q?: string; state?: string };
const routes = [
  createRoute({ getParentRoute: under, path: '/', validateSearch: (s: Record<string, unknown>): FleetSearch => ({ ...(text(s.q) ? { q: String(s.q) } : {}), ...(text(s.state) ? { state: String(s.state) } : {}) }), component: lazyRouteComponent(() => import('./pages/Fleet')) }),
  createRoute({ getParentRoute: under, path: '/tenants/$tenant', component: lazyRouteComponent(() => import('./pages/Tenant')) }),
  createRoute({ getParentRoute: under, path: '/queues/$broker/$queue', component: lazyRouteComponent(() => import('./pages/Queue')) }),
  createRoute({ getParentRoute: under, path: '/findings', component: lazyRouteComponent(() => import('./pages/Findings')) }),
  createRoute({ getParentRoute: under, path: '/findings/$finding', component: lazyRouteComponent(() => import('./pages/Finding')) }),
  createRoute({ getParentRoute: under, path: '/plans', component: lazyRouteComponent(() => import('./pages/Plans')) }),
  createRoute({ getParentRoute: under, path: '/plans/$plan', component: lazyRouteComponent(() => import('./pages/Plan')) }),
  createRoute({ getParentRoute: under, path: '/runs', component: lazyRouteComponent(() => import('./pages/Runs')) }),
  createRoute({ getParentRoute: under, path: '/runs/$run', component: lazyRouteComponent(() => import('./pages/Run')) }),
  createRoute({ getParentRoute: under, path: '/topology', component: lazyRouteComponent(() => import('./pages/Topology')) }),
  createRoute({ getParentRoute: under, path: '/audit', validateSearch: (s: Record<string, unknown>): { entry?: number } => (Number.isInteger(s.entry) ? { entry: Number(s.entry) } : {}), component: lazyRouteComponent(() => import('./pages/Audit')) }),
  createRoute({ getParentRoute: under, path: '/snapshots', component: lazyRouteComponent(() => import('./pages/Snapshots')) }),
  createRoute({ getParentRoute: under, path: '/skills', component: lazyRouteComponent(() => import('./pages/Skills')) }),
  createRoute({ getParentRoute: under, path: '/access', component: lazyRouteComponent(() => import('./pages/Access')) }),
] as const;
const router = createRouter({ routeTree: root.addChildren([...routes]), defaultPreload: 'intent' });
declare module '@tanstack/react-router' {
  interface Register {
    router: typeof router;
  }
}

live.start();
createRoot(document.getElementById('root')!).render(
  <StrictMode><CSPProvider disableStyleElements><QueryClientProvider client={client}><RouterProvider router={router} /></QueryClientProvider></CSPProvider></StrictMode>,
);
