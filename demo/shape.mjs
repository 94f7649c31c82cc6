// The shape of the incident: who owns which queue, who consumes it, and what a valid payment is.
// Shared by the generator, the consumers and the check, so that none of them can disagree with another.

import {createHash} from 'node:crypto';

export const kFullScale = 847293;
const kFullPoison = 18247;

// `ordered` groups keep strict order and so never pass over a message that fails; the others do after three tries.
// `read` is the share of the stream that the group has got through before the incident is noticed.
export const kStreams = [
  {
    key: 'orders:tenant_42',
    full: 360000,
    groups: [
      {name: 'billing', read: 0.06},
      {name: 'fraud-check', read: 0.05},
      {name: 'fulfilment', read: 0.045},
      {name: 'notifications', read: 0.04},
      {name: 'analytics', read: 0.03},
      {name: 'ledger', ordered: true, read: 0},
    ],
  },
  {
    key: 'settlements:tenant_42',
    full: 340000,
    groups: [
      {name: 'payouts', read: 0.055},
      {name: 'reconciliation', read: 0.05},
      {name: 'treasury', read: 0.04},
      {name: 'tax-reporting', read: 0.035},
      {name: 'notifications', read: 0.03},
      {name: 'ledger', ordered: true, read: 0},
    ],
  },
];

export const kList = {key: 'webhooks:tenant_42', processing: 'webhooks:tenant_42:processing', warmup: 600, warmupPoison: 13};

// Beside Redis: a standard queue of AWS SQS. Its strict consumer has worked its way to the poison before the backlog came.
export const kReceipts = {key: 'receipts-tenant_42', kind: 'sqs', full: 1200, poison: 26, warmup: 400};

// And two queues of RabbitMQ: a quorum queue whose consumer gave poison back again and again, and a classic one whose consumer
// refused it for good, into a dead-letter queue that nobody may touch.
export const kDisputes = {key: 'disputes.tenant_42', kind: 'amqp', full: 500, poison: 12, warmup: 200};
export const kInvoices = {key: 'invoices.tenant_42', kind: 'amqp', full: 400, poison: 9, warmup: 200, warmupPoison: 11, dead: 'invoices.tenant_42.dead'};

// Quiet neighbours on the same server. Nobody may touch them.
export const kNeighbours = [
  {key: 'orders:tenant_7', kind: 'stream', count: 320, groups: ['billing', 'ledger']},
  {key: 'orders:tenant_19', kind: 'stream', count: 180, groups: ['billing']},
  {key: 'webhooks:tenant_19', kind: 'list', count: 240, groups: []},
];

// Fields of a stream entry that producers write, in their order; `source` is optional.
export const kFields = ['type', 'source', 'payload'];

export function consumersOf(group) {
  return group.ordered ? [`${group.name}-1`] : [`${group.name}-1`, `${group.name}-2`];
}

// How many messages and how much poison each queue of tenant_42 gets when the whole backlog is `messages`. `beside`: what of it
// is for the brokers beside Redis, none without `withBeside`.
export function plan(messages, withBeside = false) {
  const poison = Math.round((messages * kFullPoison) / kFullScale);
  const beside = (withBeside ? [kReceipts, kDisputes, kInvoices] : []).map(({key, kind, full, poison}) => ({key, kind, count: full, poison}));
  const sum = (what) => beside.reduce((total, queue) => total + queue[what], 0);
  return {messages, poison, beside, queues: split(messages - sum('count'), poison - sum('poison'))};
}

function split(messages, poison) {
  const queues = kStreams.map(({key, full}) => ({key, kind: 'stream', count: Math.round((messages * full) / kFullScale)}));
  queues.push({key: kList.key, kind: 'list', count: messages - queues[0].count - queues[1].count});
  for (const queue of queues) queue.poison = Math.round((poison * queue.count) / messages);
  queues[2].poison = poison - queues[0].poison - queues[1].poison;
  return queues;
}

// ---- the strict parser of the consumers

const isText = (value) => typeof value === 'string';
const isFilled = (value) => typeof value === 'string' && value.length > 0;

const kRequired = {
  1: {amount: isText, currency: isFilled, customer: isText, created: isFilled},
  2: {amount: (a) => Number.isFinite(a?.value) && isFilled(a.currency), payer: (p) => isText(p?.name), items: Array.isArray},
  3: {
    event: (e) => isFilled(e?.id) && isFilled(e.at),
    money: (m) => Number.isSafeInteger(m?.minor) && isFilled(m.currency),
    parties: (p) => Array.isArray(p) && p.length > 0,
  },
};

// The payment in `body`. Throws when it is not JSON or lacks what its schema version requires.
export function parsePayment(body) {
  const payment = JSON.parse(body);
  checkPayment(payment);
  return payment;
}

export function parses(body) {
  try {
    parsePayment(body);
    return true;
  } catch {
    return false;
  }
}

export function checkPayment(payment) {
  const required = kRequired[payment?.v];
  if (!required) throw new Error(`schema version ${payment?.v} is not one of 1, 2, 3`);
  if (!isFilled(payment.transaction_id)) throw new Error('transaction_id is not a filled string');
  for (const field in required) {
    if (!required[field](payment[field])) throw new Error(`field ${field} is missing or of the wrong type`);
  }
}

// ---- digests that do not depend on order

// Sum mod 2^256 of the sha256 of every message, with a count: equal multisets have equal sums.
export class MultisetDigest {
  constructor() {
    this.count = 0;
    this.lanes = new Float64Array(8); // each lane sums 32-bit words; exact up to 2^21 messages, then folded
    this.folded = 0n;
  }

  add(sha256) {
    for (let lane = 0; lane < 8; ++lane) this.lanes[lane] += sha256.readUInt32BE(lane * 4);
    if ((++this.count & 0xfffff) === 0) this.#fold();
  }

  plus(other) {
    const sum = new MultisetDigest();
    sum.count = this.count + other.count;
    sum.folded = this.value() + other.value();
    return sum;
  }

  minus(other) {
    const rest = new MultisetDigest();
    rest.count = this.count - other.count;
    rest.folded = this.value() - other.value();
    return rest;
  }

  equals(other) {
    return this.count === other.count && this.value() === other.value();
  }

  value() {
    this.#fold();
    return this.folded;
  }

  toJSON() {
    return {count: this.count, sum: this.value().toString(16).padStart(64, '0')};
  }

  static from({count, sum}) {
    const digest = new MultisetDigest();
    digest.count = count;
    digest.folded = BigInt(`0x${sum}`);
    return digest;
  }

  #fold() {
    let sum = this.folded;
    for (let lane = 0; lane < 8; ++lane) sum += BigInt(this.lanes[lane]) << BigInt(32 * (7 - lane));
    this.folded = BigInt.asUintN(256, sum);
    this.lanes.fill(0);
  }
}

export const sha256 = (text) => createHash('sha256').update(text).digest();

// The content of a stream entry: what producers wrote and nothing that others added, so that an entry put back
// with a note of its own beside the message still compares equal. Any change of a producer's byte shows.
export function contentOfEntry(pairs) {
  let content = '';
  for (let i = 0; i < pairs.length; i += 2) {
    if (kFields.includes(pairs[i])) content += `${pairs[i]}\0${pairs[i + 1]}\0`;
  }
  return content;
}
