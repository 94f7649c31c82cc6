// show.mjs start URL [SQS AMQP] the state of the incident, measured on the servers
// show.mjs id FILE         the newest execution's id in `executions list -o json`
// show.mjs stages FILE     an execution's five stages
// show.mjs field FILE PATH one value, for example remediation_record.rollback_key
// show.mjs pulse FILE      what the consumers did in the last second of their --stats file

import {readFileSync} from 'node:fs';
import Redis from 'ioredis';
import {amqp} from './amqp.mjs';
import {kDisputes, kInvoices, kList, kReceipts, kStreams} from './shape.mjs';

const colour = process.env.DEMO_COLOUR === '1';
const paint = (code, text) => (colour ? `\u001b[${code}m${text}\u001b[0m` : text);
const count = (n) => Number(n).toLocaleString('en-US');
const json = (file) => JSON.parse(readFileSync(file, 'utf8'));

function table(rows) {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => String(row[column]).length)));
  rows.forEach((row, i) => {
    const cells = row.map((cell, column) => (column < 2 ? String(cell).padEnd(widths[column]) : String(cell).padStart(widths[column])));
    console.log(paint(i === 0 ? 2 : 0, `    ${cells.join('  ')}`.trimEnd()));
  });
}

function asObject(pairs) {
  const object = {};
  for (let i = 0; i < pairs.length; i += 2) object[pairs[i]] = pairs[i + 1];
  return object;
}

async function timesDelivered(redis, key, group) {
  const pending = await redis.xpending(key, group, '-', '+', 10000);
  const times = pending.map(([, , , delivered]) => delivered);
  return times.length === 0 ? '-' : `${Math.min(...times)}..${Math.max(...times)}`;
}

async function start(url, sqs, amqpUrl) {
  const redis = new Redis(url);
  const rows = [['queue', 'group', 'messages', 'pending', 'lag', 'delivered']];
  let backlog = 0;
  let groupCount = 0;
  for (const {key} of kStreams) {
    const length = await redis.xlen(key);
    let behind = 0;
    rows.push([key, '', count(length), '', '', '']);
    for (const group of (await redis.xinfo('GROUPS', key)).map(asObject)) {
      rows.push(['', group.name, '', count(group.pending), count(group.lag), await timesDelivered(redis, key, group.name)]);
      behind = Math.max(behind, group.pending + group.lag);
      groupCount += 1;
    }
    backlog += behind;
  }
  const length = await redis.llen(kList.key);
  rows.push([kList.key, '', count(length), `${await redis.llen(kList.processing)} stuck`, '', '']);
  if (sqs) {
    const {messages} = await (await fetch(`${sqs}/_queue/${kReceipts.key}`)).json();
    const failed = messages.ready.filter(({approximateReceiveCount}) => approximateReceiveCount > 0);
    const times = failed.map(({approximateReceiveCount}) => approximateReceiveCount);
    rows.push([kReceipts.key, '', count(messages.ready.length), `${failed.length} failed`, '', `${Math.min(...times)}..${Math.max(...times)}`]);
    backlog += messages.ready.length;
  }
  if (amqpUrl) {
    const connection = await amqp.connect(amqpUrl);
    const channel = await connection.createChannel();
    const waiting = async (key) => (await channel.checkQueue(key)).messageCount;
    for (const {key, dead} of [kDisputes, kInvoices]) {
      const messages = await waiting(key);
      rows.push([key, '', count(messages), dead ? `${await waiting(dead)} dead letters` : '', '', '']);
      backlog += messages;
    }
    await connection.close();
  }
  table(rows);
  console.log(`    backlog of tenant_42: ${paint(1, count(backlog + length))} messages, ${groupCount} consumer groups`);
  await redis.quit();
}

// The listing's outer shape is not relied on: any object with an execution_id counts.
function executionsIn(value) {
  if (value === null || typeof value !== 'object') return [];
  const inside = Object.values(value).flatMap(executionsIn);
  return typeof value.execution_id === 'string' ? [value, ...inside] : inside;
}

function newestId(file) {
  const found = executionsIn(json(file)).sort((a, b) => String(a.timestamp ?? '').localeCompare(String(b.timestamp ?? '')));
  if (found.length === 0) throw new Error('the agent lists no execution');
  console.log(found[found.length - 1].execution_id);
}

function stages(file) {
  const execution = json(file);
  for (const {stage, status, duration_ms, output} of execution.stages) {
    const mark = status === 'complete' ? paint(32, 'complete') : paint(31, status.padEnd(8));
    console.log(`    ${mark}  ${stage.padEnd(20)} ${`${count(duration_ms)} ms`.padStart(10)}  ${output}`);
  }
  const record = execution.remediation_record;
  console.log(`    removed ${count(record.messages_removed)}, preserved ${count(record.messages_preserved)}, downtime prevented: ${record.estimated_downtime_prevented}`);
}

function pulse(file) {
  const lines = readFileSync(file, 'utf8').trim().split('\n').map((line) => JSON.parse(line));
  const times = [...new Set(lines.map(({t}) => t))].slice(-2);
  const totals = times.map((t) => lines.filter((line) => line.t === t).reduce((sum, line) => [sum[0] + line.processed, sum[1] + line.failed], [0, 0]));
  if (totals.length < 2) return console.log('    no full second measured yet');
  const seconds = (times[1] - times[0]) / 1000;
  const rate = (at) => count(Math.round((totals[1][at] - totals[0][at]) / seconds));
  console.log(`    consumers: ${rate(0)} messages/s processed, ${rate(1)} failures/s`);
}

const [verb, ...rest] = process.argv.slice(2);
const verbs = {
  start: () => start(...rest),
  id: () => newestId(rest[0]),
  stages: () => stages(rest[0]),
  field: () => console.log(rest[1].split('.').reduce((value, name) => value?.[name], json(rest[0])) ?? ''),
  pulse: () => pulse(rest[0]),
};
if (!verbs[verb]) {
  console.error('usage: show.mjs start URL [SQS AMQP] | id FILE | stages FILE | field FILE PATH | pulse FILE');
  process.exit(2);
}
await verbs[verb]();
