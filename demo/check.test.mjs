// The check must be able to fail. A small incident on a real redis-server, a stand-in that does what the agent
// should do, and one wrong thing at a time.

import assert from 'node:assert/strict';
import {execFileSync, spawn, spawnSync} from 'node:child_process';
import {mkdtempSync, readFileSync, rmSync, writeFileSync} from 'node:fs';
import {createServer} from 'node:net';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {after, afterEach, before, beforeEach, describe, test} from 'node:test';
import {fileURLToPath} from 'node:url';
import Redis from 'ioredis';
import {MultisetDigest, sha256} from './shape.mjs';

const kExecution = 'queue_remediation_1';
const here = (file) => fileURLToPath(new URL(file, import.meta.url));
const dir = mkdtempSync(join(tmpdir(), 'deployclaw-check-'));
const truthFile = join(dir, 'truth.json');
const executionFile = join(dir, 'execution.json');
let server, sqs, url, redis, truth;
// Two queues as the SQS endpoint shows them, from a file.
const sqsFile = join(dir, 'sqs.json');
const kOracle = `require('http').createServer((q, a) => a.end(JSON.stringify(JSON.parse(require('fs').readFileSync(process.argv[2]))[q.url.slice(8)] ?? {}))).listen(Number(process.argv[1]), '127.0.0.1')`;

function freePort() {
  return new Promise((resolve) => {
    const probe = createServer().listen(0, '127.0.0.1', () => {
      const {port} = probe.address();
      probe.close(() => resolve(port));
    });
  });
}

const run = (script, ...args) => execFileSync(process.execPath, [here(script), ...args], {encoding: 'utf8'});

function check(...more) {
  const done = spawnSync(process.execPath, [here('check.mjs'), '--url', url, '--truth', truthFile, '--execution', executionFile, ...more], {encoding: 'utf8'});
  return {status: done.status, text: done.stdout + done.stderr};
}

// Every message is known by queue and content; `entry` is [id, pairs] in a stream and the body in a list.
async function quarantine(queue, entry) {
  const target = `{${queue.key}}:quarantine`;
  if (queue.kind === 'stream') {
    await redis.xadd(target, '*', 'exec', kExecution, 'n', '0', 'id', entry[0], ...entry[1]);
    await redis.xdel(queue.key, entry[0]);
  } else {
    await redis.xadd(target, '*', 'exec', kExecution, 'n', '0', 'id', '', 'body', entry);
    await redis.lrem(queue.key, 1, entry);
  }
}

async function poisonEntries(queue) {
  if (queue.kind === 'list') return Promise.all(queue.poison.map(({index}) => redis.lindex(queue.key, index)));
  return Promise.all(queue.poison.map(async ({id}) => (await redis.xrange(queue.key, id, id))[0]));
}

async function drain(leaveOut = 0) {
  for (const queue of truth.queues) {
    const entries = await poisonEntries(queue);
    for (const entry of entries.slice(queue === truth.queues[0] ? leaveOut : 0)) await quarantine(queue, entry);
  }
}

async function rollback() {
  for (const queue of truth.queues) {
    const target = `{${queue.key}}:quarantine`;
    for (const [, pairs] of await redis.xrange(target, '-', '+')) {
      if (queue.kind === 'stream') await redis.xadd(queue.key, '*', ...pairs.slice(6));
      else await redis.rpush(queue.key, pairs[7]);
    }
    await redis.del(target);
  }
}

// A valid message near the end of a queue, where no group has read yet.
async function someValid(queue) {
  if (queue.kind === 'list') {
    const poison = new Set(queue.poison.map(({index}) => index));
    for (let i = 0; ; ++i) if (!poison.has(i)) return redis.lindex(queue.key, i);
  }
  const poison = new Set(queue.poison.map(({id}) => id));
  return (await redis.xrevrange(queue.key, '+', '-', 'COUNT', 100)).find(([id]) => !poison.has(id));
}

function execution(removed = truth.poison) {
  const stages = ['topology_analysis', 'poison_detection', 'threshold_evaluation', 'drain_execution', 'consumer_recovery'];
  return {
    execution_id: kExecution,
    stages: stages.map((stage) => ({stage, duration_ms: 1, status: 'complete', output: ''})),
    remediation_record: {
      messages_removed: removed, messages_preserved: truth.messages - removed, compliance_fingerprint: `sha256:${'a'.repeat(64)}`,
    },
  };
}

before(async () => {
  const port = await freePort();
  server = spawn('redis-server', ['--port', port, '--bind', '127.0.0.1', '--save', '', '--dir', dir], {stdio: 'ignore'});
  url = `redis://127.0.0.1:${port}`;
  redis = new Redis(url, {retryStrategy: () => 50, maxRetriesPerRequest: null});
  await redis.ping();
});

after(async () => {
  await redis?.quit();
  server?.kill();
  rmSync(dir, {recursive: true, force: true});
});

beforeEach(() => {
  run('incident.mjs', 'generate', '--url', url, '--messages', '4000', '--truth', truthFile);
  run('consumer.mjs', '--url', url, '--fleet', '--warmup');
  truth = JSON.parse(readFileSync(truthFile, 'utf8'));
  writeFileSync(executionFile, JSON.stringify(execution()));
});

afterEach(() => redis.flushall());

function assertFails(result, pattern) {
  assert.equal(result.status, 1, result.text);
  assert.match(result.text, pattern);
}

describe('check after an execution', () => {
  test('passes when exactly the poison is in quarantine', async () => {
    await drain();
    const result = check();
    assert.equal(result.status, 0, result.text);
  });
  test('fails when nothing was done', () => assertFails(check(), /poison not in quarantine/));
  test('fails when one poison message is left in the queue', async () => {
    await drain(1);
    assertFails(check(), /poison not in quarantine/);
  });
  for (const at of [0, 2]) {
    test(`fails when a valid message was removed as well (queue ${at})`, async () => {
      await quarantine(truth.queues[at], await someValid(truth.queues[at]));
      truth.queues[2].poison.forEach((message) => (message.index -= at === 2 ? 1 : 0));
      await drain();
      assertFails(check(), /in quarantine, not in the truth/);
    });
  }
  test('fails when a valid message was removed in place of a poison one', async () => {
    const valid = await someValid(truth.queues[0]);
    await drain(1);
    await quarantine(truth.queues[0], valid);
    assertFails(check(), /but the content differs/);
  });
  test('fails when a valid message is lost', async () => {
    await drain();
    await redis.xdel(truth.queues[1].key, (await someValid(truth.queues[1]))[0]);
    assertFails(check(), /settlements:tenant_42 kept .*expected/);
  });
  test('fails when a byte of a message in quarantine changed', async () => {
    const [id, pairs] = (await poisonEntries(truth.queues[0]))[0];
    await drain(1);
    await quarantine(truth.queues[0], [id, [...pairs.slice(0, -1), `${pairs[pairs.length - 1]} `]]);
    assertFails(check(), /in quarantine, not in the truth/);
  });
  test("fails when another tenant's queue was touched", async () => {
    await drain();
    await redis.lpop('webhooks:tenant_19');
    assertFails(check(), /FAIL {2}webhooks:tenant_19 untouched/);
  });
  test('fails when the execution claims another number', async () => {
    await drain();
    writeFileSync(executionFile, JSON.stringify(execution(truth.poison - 1)));
    assertFails(check(), /FAIL {2}execution: messages_removed/);
  });
});

describe('the queue of SQS', () => {
  const [good, poison] = ['{"fine":1}', '{"broken":'];
  const digestOf = (...bodies) => bodies.reduce((sum, body) => (sum.add(sha256(body)), sum), new MultisetDigest()).toJSON();
  let port;
  before(async () => {
    port = await freePort();
    sqs = spawn(process.execPath, ['-e', kOracle, port, sqsFile], {stdio: 'ignore'});
  });
  after(() => sqs?.kill());

  // Everything else is as it should be; the queue and its quarantine hold these.
  async function checkWith(queue, quarantined) {
    const receipts = {key: 'receipts', kind: 'sqs', digest: digestOf(good, poison), poison_digest: digestOf(poison), poison: [{content_sha256: sha256(poison).toString('hex')}]};
    truth = {...truth, messages: truth.messages + 2, poison: truth.poison + 1};
    await drain();
    writeFileSync(truthFile, JSON.stringify({...truth, queues: [...truth.queues, receipts]}));
    writeFileSync(executionFile, JSON.stringify(execution()));
    const shown = (bodies) => ({messages: {ready: bodies.slice(1).map((body) => ({body})), inflight: bodies.slice(0, 1).map((body) => ({message: {body}})), delayed: []}});
    writeFileSync(sqsFile, JSON.stringify({receipts: shown(queue), 'receipts-deployclaw-quarantine': shown(quarantined)}));
    return check('--sqs', `http://127.0.0.1:${port}`);
  }

  test('passes when exactly the poison is in quarantine', async () => {
    const result = await checkWith([good], [poison]);
    assert.equal(result.status, 0, result.text);
  });
  test('fails when the poison is still there', async () => assertFails(await checkWith([good, poison], []), /receipts removed +0 of 1 poison/));
  test('fails when a valid message is in quarantine', async () => assertFails(await checkWith([], [poison, good]), /in quarantine, not in the truth/));
  test('fails when a message is in both', async () => assertFails(await checkWith([good, poison], [poison]), /FAIL {2}receipts kept/));
});

describe('check after a rollback', () => {
  test('passes when every message is back', async () => {
    await drain();
    await rollback();
    const result = check('--after', 'rollback');
    assert.equal(result.status, 0, result.text);
  });
  test('fails without the rollback', async () => {
    await drain();
    assertFails(check('--after', 'rollback'), /messages left/);
  });
  test('fails when one message did not come back', async () => {
    await drain();
    await redis.xtrim(`{${truth.queues[2].key}}:quarantine`, 'MAXLEN', truth.queues[2].poison.length - 1);
    await rollback();
    assertFails(check('--after', 'rollback'), /FAIL {2}webhooks:tenant_42 whole again/);
  });
  test('fails when one message came back twice and another did not', async () => {
    await drain();
    const target = `{${truth.queues[0].key}}:quarantine`;
    const [[first], [, second]] = await redis.xrange(target, '-', '+', 'COUNT', 2);
    await redis.xdel(target, first);
    await redis.xadd(target, '*', ...second);
    await rollback();
    assertFails(check('--after', 'rollback'), /but the content differs/);
  });
});
