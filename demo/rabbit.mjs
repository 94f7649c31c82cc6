// rabbit.mjs --url URL --api URL --truth FILE
//
// The RabbitMQ queues of tenant_42, by amqplib: older messages, a strict consumer of each that acknowledges what it can parse, and
// the backlog that came since the consumers gave up. What the one could not parse it gave back at least three times, the other
// refused it for good. Adds what it made to the truth.

import {readFileSync, writeFileSync} from 'node:fs';
import {parseArgs} from 'node:util';
import {amqp} from './amqp.mjs';
import {Ledger, draw} from './ledger.mjs';
import {Chance, Spread} from './messages.mjs';
import {kDisputes, kInvoices, parses} from './shape.mjs';

const kTries = 3;
const kPrefetch = 20;

const {values} = parseArgs({options: {url: {type: 'string'}, api: {type: 'string'}, truth: {type: 'string'}}});
if (!values.url || !values.api || !values.truth) {
  console.error('usage: rabbit.mjs --url URL --api URL --truth FILE');
  process.exit(2);
}
const truth = JSON.parse(readFileSync(values.truth, 'utf8'));
const connection = await connected();
const channel = await connection.createConfirmChannel();

// A node that was begun a moment ago listens after some seconds.
async function connected() {
  for (let left = 600; ; --left) {
    try {
      return await amqp.connect(values.url);
    } catch (error) {
      if (left === 0) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}

async function send(queue, bodies) {
  for (const [i, body] of bodies.entries())
    channel.sendToQueue(queue, Buffer.from(body), {persistent: true, contentType: 'application/json', messageId: `${queue}-${i}`});
  await channel.waitForConfirms();
}

// Until every older message was acknowledged, refused for good, or given back kTries times.
async function consume(queue, valid, poison, requeue) {
  const failures = new Map();
  let processed = 0;
  const worker = await connection.createChannel();
  await worker.prefetch(kPrefetch);
  await new Promise((resolve) => {
    worker.consume(queue, (message) => {
      const body = message.content.toString();
      if (parses(body)) {
        worker.ack(message);
        processed += 1;
      } else {
        worker.nack(message, false, requeue);
        failures.set(body, (failures.get(body) ?? 0) + 1);
      }
      const tries = requeue ? kTries : 1;
      if (processed >= valid && failures.size >= poison && Math.min(...failures.values()) >= tries) resolve();
    });
  });
  await worker.close();
  return [...failures.values()].reduce((sum, n) => sum + n, 0);
}

// What the agent asks the management API for is some seconds old.
async function isKnown(queue, messages) {
  const headers = {authorization: `Basic ${Buffer.from('guest:guest').toString('base64')}`};
  for (let i = 0; i < 300; ++i) {
    const facts = await (await fetch(`${values.api}/api/queues/%2F/${queue}`, {headers})).json();
    if (facts.messages_ready === messages && facts.consumers === 0 && facts.effective_policy_definition) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`the management API does not know ${queue}`);
}

async function fill(shape, argumentsOf, quarantine) {
  const queue = truth.beside.find(({key}) => key === shape.key);
  const chance = new Chance(`${truth.seed}/${queue.key}`);
  const ledger = new Ledger(queue);
  const dead = new Ledger({key: shape.dead, kind: 'amqp', count: shape.warmupPoison});
  await channel.assertQueue(queue.key, {durable: true, arguments: argumentsOf});
  // The agent makes its quarantine by itself; a new one must be three seconds old before anything leaves a queue for it.
  await channel.assertQueue(`${queue.key}.quarantine`, {durable: true, arguments: quarantine});

  const olderPoison = shape.warmupPoison ?? queue.poison;
  const older = [];
  const spread = new Spread(chance, shape.warmup + olderPoison, olderPoison);
  for (let i = 0; i < shape.warmup + olderPoison; ++i) {
    const message = draw(chance, spread.next());
    older.push(message.body);
    if (message.ruin) (shape.dead ? dead : ledger).note({}, message.body, message);
  }
  await send(queue.key, older);
  const failures = await consume(queue.key, shape.warmup, olderPoison, !shape.dead);

  const fresh = queue.count - (shape.dead ? 0 : queue.poison);
  const later = new Spread(chance, fresh, shape.dead ? queue.poison : 0);
  const backlog = Array.from({length: fresh}, () => draw(chance, later.next()));
  for (const message of backlog) ledger.note({}, message.body, message);
  await send(queue.key, backlog.map(({body}) => body));
  truth.queues.push(ledger);
  if (shape.dead) truth.neighbours.push(dead);
  await isKnown(queue.key, queue.count);
  return {queue: queue.key, messages: queue.count, poison: queue.poison, failures};
}

await channel.assertQueue(kInvoices.dead, {durable: true});
const filled = [
  await fill(kDisputes, {'x-queue-type': 'quorum'}, {'x-queue-type': 'quorum'}),
  await fill(kInvoices, {'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': kInvoices.dead}, {'x-queue-mode': 'lazy', 'x-queue-version': 2}),
];
await connection.close();
writeFileSync(values.truth, JSON.stringify(truth));
console.log(JSON.stringify(filled));
