/** Live values of tenants, beside the list: a change re-draws one row, and the order never changes under the pointer. */
import { useSyncExternalStore } from 'react';
import type { State } from './api/client';

export type Row = readonly [id: string, state: State, severity: number, backlog: number, held: number, oldest: number | null, drain: number | null];
const values = new Map<string, Row>();
const watchers = new Map<string, Set<() => void>>();
const dirtyWatchers = new Set<() => void>();
let dirty = false;

export function apply(rows: Row[]) {
  for (const row of rows) {
    values.set(row[0], row);
    for (const f of watchers.get(row[0]) ?? []) f();
  }
  if (!rows.length || dirty) return;
  dirty = true;
  for (const f of dirtyWatchers) f();
}

/** After the list was fetched again: it holds what was said so far. */
export function forget() {
  values.clear();
  dirty = false;
  for (const f of dirtyWatchers) f();
}

export function useRow(id: string) {
  const subscribe = (f: () => void) => {
    const set = watchers.get(id) ?? new Set();
    watchers.set(id, set.add(f));
    return () => void set.delete(f);
  };
  return useSyncExternalStore(subscribe, () => values.get(id));
}
export const useDirty = () => useSyncExternalStore((f) => (dirtyWatchers.add(f), () => void dirtyWatchers.delete(f)), () => dirty);
