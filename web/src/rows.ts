/** Live values of tenants, beside the list: a change re-draws one row, and the order never changes under the pointer. */
import { useSyncExternalStore } from 'react';
import type { State } from './api/client';

export type Row = readonly [id: string, state: State, severity: number, backlog: number, held: number, oldest: number | null, drain: number | null];
const values = new Map<string, { row: Row; evaluation: number }>();
const watchers = new Map<string, Set<() => void>>();
const dirtyWatchers = new Set<() => void>();
let dirty = false;

export function apply(rows: Row[], evaluation: number) {
  for (const row of rows) {
    values.set(row[0], { row, evaluation });
    for (const f of watchers.get(row[0]) ?? []) f();
  }
  if (!rows.length || dirty) return;
  dirty = true;
  for (const f of dirtyWatchers) f();
}

/** The list of this evaluation was fetched: what was said up to it is in there. */
export function forget(evaluation: number) {
  for (const [id, value] of values) if (value.evaluation <= evaluation) values.delete(id);
  dirty = values.size > 0;
  for (const f of dirtyWatchers) f();
}

export function useRow(id: string) {
  const subscribe = (f: () => void) => {
    const set = watchers.get(id) ?? new Set();
    watchers.set(id, set.add(f));
    return () => void set.delete(f);
  };
  return useSyncExternalStore(subscribe, () => values.get(id)?.row);
}
export const useDirty = () => useSyncExternalStore((f) => (dirtyWatchers.add(f), () => void dirtyWatchers.delete(f)), () => dirty);
