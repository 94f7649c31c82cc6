// receipts.mjs --endpoint URL --truth FILE
//
// The SQS queue of tenant_42, by the AWS SDK: older receipts, a strict consumer that deletes what it can parse and fails on the
// rest at least three times each, and then the backlog that came since the consumer gave up. Adds what it made to the truth.
// SQS takes no control characters, so poison that has one is drawn again.

import {readFileSync, writeFileSync} from 'node:fs';
import {createRequire} from 'node:module';
import {parseArgs} from 'node:util';
import {Ledger, draw} from './ledger.mjs';
import {Chance, Spread} from './messages.mjs';
import {kReceipts, parses} from './shape.mjs';

const sdk = createRequire(new URL('../testing/sqs/package.json', import.meta.url))('@aws-sdk/client-sqs');

const kTries = 3;
const kBatch = 10;  // of SQS
const kForbidden = /[^\x09\x0A\x0D\x20-\uD7FF\uE000-\uFFFD\u{10000}-\u{10FFFF}]/u;

const {values} = parseArgs({options: {endpoint: {type: 'string'}, truth: {type: 'string'}}});
if (!values.endpoint || !values.truth) {
  console.error('usage: receipts.mjs --endpoint URL --truth FILE');
  process.exit(2);
}
const client = new sdk.SQSClient({endpoint: values.endpoint, region: 'us-east-1'});
const QueueUrl = (await client.send(new sdk.CreateQueueCommand({QueueName: kReceipts.key}))).QueueUrl;

async function send(bodies) {
  for (let at = 0; at < bodies.length; at += kBatch) {
    const Entries = bodies.slice(at, at + kBatch).map((MessageBody, i) => ({Id: String(i), MessageBody}));
    const {Failed = []} = await client.send(new sdk.SendMessageBatchCommand({QueueUrl, Entries}));
    if (Failed.length > 0) throw new Error(`SQS refused a receipt: ${Failed[0].Message}`);
  }
}

// Until only poison is left and each of it has failed kTries times.
async function consume(valid, poison) {
  const failures = new Map();
  let processed = 0;
  while (processed < valid || failures.size < poison || Math.min(...failures.values()) < kTries) {
    const {Messages = []} = await client.send(new sdk.ReceiveMessageCommand({QueueUrl, MaxNumberOfMessages: kBatch}));
    for (const [Action, Command, messages, more] of [
      ['deleted', sdk.DeleteMessageBatchCommand, Messages.filter(({Body}) => parses(Body)), {}],
      ['given back', sdk.ChangeMessageVisibilityBatchCommand, Messages.filter(({Body}) => !parses(Body)), {VisibilityTimeout: 0}],
    ]) {
      if (messages.length === 0) continue;
      const Entries = messages.map(({ReceiptHandle}, i) => ({Id: String(i), ReceiptHandle, ...more}));
      const {Failed = []} = await client.send(new Command({QueueUrl, Entries}));
      if (Failed.length > 0) throw new Error(`a receipt was not ${Action}: ${Failed[0].Message}`);
      if (Action === 'deleted') processed += messages.length;
      else for (const {MessageId} of messages) failures.set(MessageId, (failures.get(MessageId) ?? 0) + 1);
    }
  }
  return [...failures.values()].reduce((sum, n) => sum + n, 0);
}

const truth = JSON.parse(readFileSync(values.truth, 'utf8'));
const queue = truth.beside.find(({key}) => key === kReceipts.key);
const chance = new Chance(`${truth.seed}/${queue.key}`);
const ledger = new Ledger(queue);

function next(isPoison) {
  let message = draw(chance, isPoison);
  while (kForbidden.test(message.body)) message = draw(chance, isPoison);
  return message;
}

const older = [];
const spread = new Spread(chance, kReceipts.warmup + queue.poison, queue.poison);
for (let i = 0; i < kReceipts.warmup + queue.poison; ++i) {
  const message = next(spread.next());
  older.push(message.body);
  if (message.ruin) ledger.note({}, message.body, message);
}
await send(older);
const failures = await consume(kReceipts.warmup, queue.poison);
const backlog = Array.from({length: queue.count - queue.poison}, () => next(false));
for (const message of backlog) ledger.note({}, message.body, message);
await send(backlog.map(({body}) => body));

truth.queues.push(ledger);
writeFileSync(values.truth, JSON.stringify(truth));
console.log(JSON.stringify({queue: queue.key, messages: queue.count, poison: queue.poison, failures}));
