/** One EventSource for all tabs of a browser: Web Locks elects the tab that holds it, BroadcastChannel tells the others. */
export type LiveState = 'connecting' | 'live' | 'stale';
export type LiveEvent = { type: string; data: unknown };

const TYPES = ['hello', 'tick', 'tenants', 'operation', 'brake', 'resync'];
const SILENCE_MS = 12_000; // two ticks of the server and some
const listeners = new Set<(e: LiveEvent) => void>();
const stateListeners = new Set<() => void>();
let state: LiveState = 'connecting';
let heard = 0;

export const getState = () => state;
export const subscribeState = (f: () => void) => (stateListeners.add(f), () => void stateListeners.delete(f));
export const subscribe = (f: (e: LiveEvent) => void) => (listeners.add(f), () => void listeners.delete(f));

function setState(next: LiveState) {
  if (next === state) return;
  state = next;
  for (const f of stateListeners) f();
}

function deliver(e: LiveEvent) {
  heard = performance.now();
  setState('live');
  for (const f of listeners) f(e);
}

function open(relay: (e: LiveEvent) => void) {
  const source = new EventSource('/api/v1/events');
  const on = (m: MessageEvent<string>) => {
    const e = { type: m.type, data: JSON.parse(m.data) as unknown };
    deliver(e);
    relay(e);
  };
  for (const type of TYPES) source.addEventListener(type, on as EventListener);
  source.onerror = () => setState('stale');
}

export function start() {
  setInterval(() => heard && performance.now() - heard > SILENCE_MS && setState('stale'), 2_000);
  if (!('locks' in navigator)) return open(() => {});
  const channel = new BroadcastChannel('deployclaw-live');
  channel.onmessage = (m: MessageEvent<LiveEvent>) => deliver(m.data);
  void navigator.locks.request('deployclaw-live', () => {
    open((e) => channel.postMessage(e));
    return new Promise<never>(() => {});
  });
}
