// check.mjs --url URL --truth FILE --execution FILE [--processed FILE] [--sqs URL] [--amqp URL] [--after rollback]
//
// Compares what the agent did with the ground truth that it never saw, and ends with 1 on any difference.
// After an execution: quarantine holds exactly the poison, byte-equal; the queues hold exactly everything else.
// After a rollback: quarantine is empty and the queues hold everything again. Other tenants' queues: untouched.
// RabbitMQ's dead letters too. Consumers must be stopped: a list's messages that they processed are read from --processed.

import {readFileSync} from 'node:fs';
import {parseArgs} from 'node:util';
import Redis from 'ioredis';
import {amqp} from './amqp.mjs';
import {MultisetDigest, contentOfEntry, sha256} from './shape.mjs';

const kPage = 5000;
const kShown = 5;
const kStages = ['topology_analysis', 'poison_detection', 'threshold_evaluation', 'drain_execution', 'consumer_recovery'];

class Report {
  constructor() {
    this.ok = true;
  }

  line(ok, what, detail) {
    this.ok &&= ok;
    console.log(`    ${ok ? 'ok  ' : 'FAIL'}  ${what.padEnd(34)}  ${detail}`);
  }

  examples(kind, messages) {
    for (const message of messages.slice(0, kShown)) console.log(`            ${kind}: ${message}`);
    if (messages.length > kShown) console.log(`            ${kind}: and ${messages.length - kShown} more`);
  }
}

// ---- reading

// Every body that an SQS queue holds, hidden or not; by the endpoint's own view, which is not a receive.
async function receiptsIn(key) {
  const answer = await fetch(`${values.sqs}/_queue/${key}`);
  const {ready = [], inflight = [], delayed = []} = (await answer.json()).messages ?? {};
  return [...ready, ...inflight.map(({message}) => message), ...delayed.map((entry) => entry.message ?? entry)].map(({body}) => body);
}

// Every body that a queue of RabbitMQ holds: taken, and given back by closing the channel.
async function bodiesAt(key) {
  const connection = await amqp.connect(values.amqp);
  const channel = await connection.createChannel();
  const bodies = [];
  for (let message; (message = await channel.get(key)); ) bodies.push(message.content);
  await channel.close();
  await connection.close();
  return bodies;
}

async function* entriesOf(redis, key) {
  for (let from = '-'; ; ) {
    const page = await redis.xrange(key, from, '+', 'COUNT', kPage);
    yield* page;
    if (page.length < kPage) return;
    from = `(${page[page.length - 1][0]}`;
  }
}

async function* bodiesOf(redis, key) {
  for (let from = 0; ; from += kPage) {
    const page = await redis.lrange(key, from, from + kPage - 1);
    yield* page;
    if (page.length < kPage) return;
  }
}

async function digestOf(redis, {key, kind}, onId = () => {}) {
  const digest = new MultisetDigest();
  if (kind === 'sqs') {
    for (const body of await receiptsIn(key)) digest.add(sha256(body));
    return digest;
  }
  if (kind === 'amqp') {
    for (const body of await bodiesAt(key)) digest.add(sha256(body));
    return digest;
  }
  if (kind === 'list') {
    for await (const body of bodiesOf(redis, key)) digest.add(sha256(body));
    return digest;
  }
  for await (const [id, pairs] of entriesOf(redis, key)) {
    digest.add(sha256(contentOfEntry(pairs)));
    onId(id);
  }
  return digest;
}

function fieldOf(pairs, name) {
  for (let i = 0; i < pairs.length; i += 2) if (pairs[i] === name) return pairs[i + 1];
  return undefined;
}

// The message within a quarantine entry: the agent's own fields stand first, the producer's last.
function contentInQuarantine(kind, pairs) {
  if (kind === 'list') return pairs[pairs.length - 1];
  let start = pairs.length;
  for (let i = 0; i < pairs.length; i += 2) if (pairs[i] === 'type') start = i;
  return contentOfEntry(pairs.slice(start));
}

async function quarantineOf(redis, queue, executionId) {
  if (queue.kind === 'sqs') return (await receiptsIn(`${queue.key}-deployclaw-quarantine`)).map((body) => ({sha256: sha256(body).toString('hex')}));
  if (queue.kind === 'amqp') return (await bodiesAt(`${queue.key}.quarantine`)).map((body) => ({sha256: sha256(body).toString('hex')}));
  const found = [];
  for (const key of [`{${queue.key}}:quarantine`, `${queue.key}:quarantine`]) {
    if ((await redis.type(key)) !== 'stream') continue;
    for await (const [, pairs] of entriesOf(redis, key)) {
      if (fieldOf(pairs, 'exec') !== executionId) continue;
      found.push({id: fieldOf(pairs, 'id'), sha256: sha256(contentInQuarantine(queue.kind, pairs)).toString('hex')});
    }
  }
  return found;
}

// ---- judging

// A stream's message is known by id and content, a list's by content; equal ones are counted.
function compare(queue, quarantined) {
  const keyOf = (message, digest) => (queue.kind === 'stream' ? `${message.id} ${digest}` : digest);
  const wanted = new Map();
  for (const message of queue.poison) {
    const key = keyOf(message, message.content_sha256);
    wanted.set(key, (wanted.get(key) ?? 0) + 1);
  }
  const foreign = [];
  for (const message of quarantined) {
    const key = keyOf(message, message.sha256);
    const left = wanted.get(key) ?? 0;
    if (left > 0) wanted.set(key, left - 1);
    else foreign.push(key);
  }
  const missing = [...wanted].flatMap(([key, left]) => Array(left).fill(key));
  const truth = queue.poison.length;
  return {truth, right: truth - missing.length, missing, foreign};
}

function judgeQuarantine(report, queue, quarantined) {
  const result = compare(queue, quarantined);
  const good = result.missing.length === 0 && result.foreign.length === 0;
  report.line(good, `${queue.key} removed`, `${result.right} of ${result.truth} poison, ${result.foreign.length} others`);
  report.examples('poison not in quarantine', result.missing);
  report.examples('in quarantine, not in the truth', result.foreign);
  return result;
}

function judgeDigest(report, what, expected, actual) {
  const good = expected.equals(actual);
  const detail = good ? `${actual.count} messages, byte-equal`
    : expected.count === actual.count ? `${actual.count} messages, but the content differs`
    : `${actual.count} messages, expected ${expected.count}`;
  report.line(good, what, detail);
}

function judgeExecution(report, truth, execution) {
  const record = execution.remediation_record ?? {};
  const preserved = truth.messages - truth.poison;
  const stages = (execution.stages ?? []).map(({stage}) => stage).join(' ');
  report.line(stages === kStages.join(' '), 'execution: the five stages', stages === kStages.join(' ') ? 'in order' : stages || 'none');
  const open = (execution.stages ?? []).filter(({status}) => status !== 'complete').map(({stage, status}) => `${stage} ${status}`);
  report.line(open.length === 0, 'execution: every stage complete', open.length === 0 ? 'yes' : open.join(', '));
  report.line(record.messages_removed === truth.poison, 'execution: messages_removed', `${record.messages_removed}, expected ${truth.poison}`);
  report.line(record.messages_preserved === preserved, 'execution: messages_preserved', `${record.messages_preserved}, expected ${preserved}`);
  const sealed = /^sha256:[0-9a-f]{64}$/.test(record.compliance_fingerprint ?? '');
  report.line(sealed, 'execution: compliance_fingerprint', record.compliance_fingerprint ?? 'none');
}

// ---- the two checks

async function remaining(redis, truth, queue, processed, onId) {
  const digest = await digestOf(redis, queue, onId);
  if (queue.kind !== 'list') return digest;
  const inHand = await digestOf(redis, {key: truth.leftover.key, kind: 'list'});
  return digest.plus(inHand).plus(processed[queue.key] ? MultisetDigest.from(processed[queue.key]) : new MultisetDigest());
}

// All that was generated, with the evidence of the warm-up in the processing list.
function everything(truth, queue) {
  const all = MultisetDigest.from(queue.digest);
  return queue.kind === 'list' ? all.plus(MultisetDigest.from(truth.leftover.digest)) : all;
}

async function checkExecution(report, redis, truth, execution, processed) {
  const total = {right: 0, truth: 0, quarantined: 0};
  for (const queue of truth.queues) {
    const quarantined = await quarantineOf(redis, queue, execution.execution_id);
    const result = judgeQuarantine(report, queue, quarantined);
    total.right += result.right;
    total.truth += result.truth;
    total.quarantined += quarantined.length;
    const expected = everything(truth, queue).minus(MultisetDigest.from(queue.poison_digest));
    judgeDigest(report, `${queue.key} kept`, expected, await remaining(redis, truth, queue, processed));
  }
  const precision = total.quarantined === 0 ? 0 : total.right / total.quarantined;
  const recall = total.truth === 0 ? 0 : total.right / total.truth;
  report.line(precision === 1 && recall === 1, 'precision and recall', `${precision.toFixed(6)} and ${recall.toFixed(6)}`);
  judgeExecution(report, truth, execution);
}

async function checkRollback(report, redis, truth, execution, processed) {
  for (const queue of truth.queues) {
    const poisonIds = new Set(queue.poison.map(({id}) => id));
    let sameId = 0;
    const actual = await remaining(redis, truth, queue, processed, (id) => (sameId += poisonIds.has(id) ? 1 : 0));
    judgeDigest(report, `${queue.key} whole again`, everything(truth, queue), actual);
    if (queue.kind === 'stream') console.log(`          ${sameId} of ${queue.poison.length} messages came back under their original id`);
    const left = await quarantineOf(redis, queue, execution.execution_id);
    report.line(left.length === 0, `${queue.key} quarantine`, left.length === 0 ? 'empty' : `${left.length} messages left`);
  }
}

async function checkNeighbours(report, redis, truth) {
  for (const queue of truth.neighbours) {
    judgeDigest(report, `${queue.key} untouched`, MultisetDigest.from(queue.digest), await digestOf(redis, queue));
  }
}

const text = {type: 'string'};
const {values} = parseArgs({options: {url: text, truth: text, execution: text, processed: text, sqs: text, amqp: text, after: text}});
if (!values.url || !values.truth || !values.execution || (values.after && values.after !== 'rollback')) {
  console.error('usage: check.mjs --url URL --truth FILE --execution FILE [--processed FILE] [--sqs URL] [--amqp URL] [--after rollback]');
  process.exit(2);
}
const json = (file) => JSON.parse(readFileSync(file, 'utf8'));
const truth = json(values.truth);
const execution = json(values.execution);
const processed = values.processed ? json(values.processed) : {};
const redis = new Redis(values.url);
const report = new Report();
await (values.after ? checkRollback : checkExecution)(report, redis, truth, execution, processed);
await checkNeighbours(report, redis, truth);
await redis.quit();
process.exitCode = report.ok ? 0 : 1;
