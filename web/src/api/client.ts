import createClient from 'openapi-fetch';
import type { components, paths } from './schema';

export const api = createClient<paths>({ baseUrl: location.origin });
type S = components['schemas'];
export type Tenants = S['Tenants'];
export type State = S['State'];
export type Finding = S['Finding'];
export type Plan = S['Plan'];
export type Execution = S['Execution'];
export type Operation = S['Operation'];
export type Queue = S['Queue'];
export type Stage = S['Stage'];
export type AuditProof = S['AuditProof'];
export type Trouble = S['Trouble'];
type Problem = S['Problem'];

/** The answer's data, or an Error in the server's words. */
export async function must<T>(answer: Promise<{ data?: T; error?: unknown; response: Response }>): Promise<T> {
  const { data, error, response } = await answer;
  if (response.ok && data !== undefined) return data;
  const problem = error as Partial<Problem> | undefined;
  throw new Error(problem?.detail ? `${problem.op ? `${problem.op}: ` : ''}${problem.detail}` : `The agent answered ${response.status}.`);
}

/** One key for one click: a request that is sent twice is carried out once. */
export const once = () => ({ 'Idempotency-Key': crypto.randomUUID() });
