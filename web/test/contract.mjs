// Holds real answers against openapi.yaml: every GET whose path can be filled in from another answer, and every problem.
import { readFileSync } from 'node:fs';
import { parse } from 'yaml';

const kinds = { string: (v) => typeof v === 'string', integer: Number.isInteger, number: (v) => typeof v === 'number', boolean: (v) => typeof v === 'boolean', null: (v) => v === null, array: Array.isArray, object: (v) => v !== null && typeof v === 'object' && !Array.isArray(v) };

/** Appends to `errors` what in `value` is not as `schema` says. Knows the words that openapi.yaml uses; another one is an error. */
export function hold(value, schema, spec, place, errors) {
  if (schema.$ref) return hold(value, spec.components.schemas[schema.$ref.split('/').pop()], spec, place, errors);
  for (const word of Object.keys(schema)) if (!['type', 'enum', 'anyOf', 'required', 'properties', 'additionalProperties', 'items'].includes(word)) errors.push(`${place}: the check does not know ${word}`);
  if (schema.anyOf) {
    const tries = schema.anyOf.map((s) => { const e = []; hold(value, s, spec, place, e); return e; });
    if (!tries.some((e) => e.length === 0)) errors.push(...tries[0]);
    return;
  }
  const types = [schema.type ?? []].flat();
  if (types.length && !types.some((t) => kinds[t](value))) return void errors.push(`${place}: expected ${types}, is ${JSON.stringify(value)?.slice(0, 80)}`);
  if (schema.enum && !schema.enum.includes(value)) errors.push(`${place}: ${JSON.stringify(value)} is not one of ${schema.enum}`);
  if (Array.isArray(value) && schema.items) value.forEach((v, i) => hold(v, schema.items, spec, `${place}[${i}]`, errors));
  if (!schema.properties || !kinds.object(value)) return;
  for (const key of schema.required ?? []) if (!(key in value)) errors.push(`${place}: ${key} is missing`);
  for (const [key, v] of Object.entries(value)) {
    if (schema.properties[key]) hold(v, schema.properties[key], spec, `${place}.${key}`, errors);
    else if (schema.additionalProperties === false) errors.push(`${place}: ${key} is not in the contract`);
  }
}

export async function contract(base, file) {
  const spec = parse(readFileSync(file, 'utf8'));
  const errors = [];
  let checked = 0;
  const get = async (path) => (await fetch(base + path)).json();
  const first = async (path, list, key) => encodeURIComponent((await get(path))[list][0]?.[key] ?? 'none');
  const queue = (await get('/api/v1/tenants/tenant_42')).queues[0];
  const fill = {
    tenant: 'tenant_42', broker: encodeURIComponent(queue.broker), queue: encodeURIComponent(queue.name), index: '0',
    finding: await first('/api/v1/findings', 'findings', 'finding_id'), plan: await first('/api/v1/plans', 'plans', 'id'),
    execution: await first('/api/v1/executions', 'executions', 'execution_id'), operation: await first('/api/v1/operations', 'operations', 'id'),
  };
  for (const [path, methods] of Object.entries(spec.paths)) {
    const schema = methods.get?.responses['200'].content['application/json']?.schema;
    if (!schema || path.endsWith('/result')) continue;
    const answer = await fetch(base + path.replace(/\{(\w+)\}/g, (_, name) => fill[name]));
    if (answer.status !== 200) errors.push(`${path}: ${answer.status}`);
    else hold(await answer.json(), schema, spec, path, errors);
    checked += 1;
  }
  for (const path of ['/api/v1/plans/00000000', '/api/v1/findings/none', '/api/v1/tenants/none', '/api/v1/audit/proofs/x', '/api/v1/queues/a/b?minutes=z']) {
    const answer = await fetch(base + path);
    if (answer.headers.get('content-type') !== 'application/problem+json') errors.push(`${path}: ${answer.headers.get('content-type')}`);
    hold(await answer.json(), { $ref: '#/components/schemas/Problem' }, spec, path, errors);
    checked += 1;
  }
  return { errors, checked };
}
