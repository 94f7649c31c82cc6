// The consumers of tenant_42: strict, and brought to their knees by what they cannot parse.
//
//   consumer.mjs --url URL --stream KEY --group G --name C [--ordered]     one consumer of a group
//   consumer.mjs --url URL --list KEY --processing KEY --name C            one worker of a list
//   consumer.mjs --url URL --fleet                                         every consumer of tenant_42
// Common: [--rate MESSAGES_A_SECOND_OF_A_GROUP] [--stats FILE] [--processed FILE] [--log FILE]
//         [--warmup [--take K]]  take exactly K messages (fleet: the shares in shape.mjs), then end
//
// A stream consumer reads its own pending entries first, then new ones. A message that does not parse is not
// acknowledged: the consumer crashes, is restarted after half a second, and meets the same message again, which
// raises its delivery count. After three tries it is passed over and stays pending; an ordered group never passes
// over. Valid messages are acknowledged and stay visible in the stream.
//
// A list worker moves a message to the processing list, works, and removes it from there; what fails three times
// stays there. After five failures in a row the workers' circuit opens: nothing is taken until the oldest 2,000
// messages, looked at without taking them, all parse. For ten seconds after that each batch is looked at first.
// New workers start with an open circuit: they look before they take anything.
//
// The warm-up is the same code without the waits and without the circuit. SIGTERM finishes the batch in hand.
// --processed keeps, per list, count and digest of what was processed, so that a check can account for it.

import {appendFileSync, renameSync, writeFileSync} from 'node:fs';
import {setTimeout as sleep} from 'node:timers/promises';
import {parseArgs} from 'node:util';
import Redis from 'ioredis';
import {MultisetDigest, consumersOf, kList, kStreams, parsePayment, parses, sha256} from './shape.mjs';

const kBatch = 50;
const kRestartMs = 500;
const kTries = 3;
const kFailuresThatOpen = 5;
const kProbe = 2000;
const kCarefulMs = 10000;

class Crash extends Error {}

// What all consumers of this process share.
class Station {
  constructor(options) {
    this.options = options;
    this.stopping = false;
    this.lines = [];
    this.processedOfList = {};
  }

  counter(queue, group) {
    const line = {queue, group, processed: 0, failed: 0};
    this.lines.push(line);
    return line;
  }

  log(text) {
    if (this.options.log) appendFileSync(this.options.log, `${new Date().toISOString()} ${text}\n`);
  }

  report() {
    const t = Date.now();
    if (this.options.stats) appendFileSync(this.options.stats, this.lines.map((line) => `${JSON.stringify({t, ...line})}\n`).join(''));
    if (!this.options.processed) return;
    writeFileSync(`${this.options.processed}.new`, JSON.stringify(this.processedOfList));
    renameSync(`${this.options.processed}.new`, this.options.processed);
  }

  // Keeps one consumer alive: a crash is logged and followed by a new life.
  async supervise(consumer) {
    let crashes = 0;
    while (!this.stopping) {
      try {
        await consumer.live();
        return;
      } catch (error) {
        if (!(error instanceof Crash)) throw error;
        if (++crashes <= 3 || crashes % 100 === 0) this.log(`${consumer.name} crashed (${crashes}): ${error.message}`);
        if (!this.options.warmup) await sleep(kRestartMs);
      }
    }
  }

  async pace(consumer, count) {
    if (this.options.warmup) return;
    consumer.due = Math.max(consumer.due ?? 0, performance.now() - 100) + (count / consumer.rate) * 1000;
    await sleep(Math.max(0, consumer.due - performance.now()));
  }
}

// How many messages a group or the workers of a list may still take; unlimited outside the warm-up.
class Allowance {
  constructor(left) {
    this.left = left;
  }

  take(wanted) {
    const got = Math.min(wanted, this.left);
    this.left -= got;
    return got;
  }
}

function bodyOf(pairs) {
  return pairs[pairs.lastIndexOf('payload') + 1];
}

class StreamConsumer {
  constructor(station, {key, group, name, ordered, rate, allowance, counter}) {
    Object.assign(this, {station, key, group, name, ordered, rate, allowance, counter});
    this.redis = new Redis(station.options.url, {maxRetriesPerRequest: null});
    this.cursor = '0-0'; // pending entries up to here were passed over
    this.failing = {id: '', tries: 0};
    this.prefetch = ordered ? 1 : kBatch;
  }

  async live() {
    for (let batch = await this.read(this.cursor, kBatch); batch.length > 0; batch = await this.read(this.cursor, kBatch)) {
      await this.work(batch);
    }
    while (!this.station.stopping) {
      const count = this.allowance.take(this.prefetch);
      if (count === 0) return;
      const batch = await this.read('>', count);
      await this.work(batch);
      if (this.ordered) this.prefetch = Math.min(kBatch, this.prefetch * 2);
    }
  }

  async read(from, count) {
    if (this.station.stopping) return [];
    const wait = from === '>' ? ['BLOCK', 500] : [];
    const reply = await this.redis.xreadgroup('GROUP', this.group, this.name, 'COUNT', count, ...wait, 'STREAMS', this.key, from);
    return reply ? reply[0][1] : [];
  }

  async work(batch) {
    const done = [];
    try {
      for (const [id, pairs] of batch) {
        if (pairs) this.handle(id, bodyOf(pairs)); // deleted while pending: nothing to do but acknowledge
        done.push(id);
      }
    } finally {
      if (done.length > 0) await this.redis.xack(this.key, this.group, ...done);
      this.counter.processed += done.length;
    }
    await this.station.pace(this, batch.length);
  }

  handle(id, body) {
    try {
      parsePayment(body);
    } catch (error) {
      this.counter.failed += 1;
      if (this.failing.id !== id) this.failing = {id, tries: 0};
      if (++this.failing.tries >= kTries && !this.ordered) this.cursor = id;
      if (this.ordered) this.prefetch = 1;
      throw new Crash(`${this.key} ${id}: ${error.message}`);
    }
  }
}

class Circuit {
  constructor() {
    this.state = 'open'; // open: look, take nothing; careful: look before each take
    this.failures = 0;
    this.carefulUntil = 0;
  }

  // True when that was one failure too many.
  failed() {
    if (++this.failures < kFailuresThatOpen) return false;
    this.state = 'open';
    return true;
  }

  succeeded() {
    this.failures = 0;
    if (this.state === 'careful' && performance.now() > this.carefulUntil) this.state = 'closed';
  }

  looked(clean) {
    if (!clean) this.state = 'open';
    if (!clean || this.state !== 'open') return;
    this.state = 'careful';
    this.failures = 0;
    this.carefulUntil = performance.now() + kCarefulMs;
  }
}

class ListWorker {
  constructor(station, {key, processing, name, rate, allowance, counter, circuit, leads}) {
    Object.assign(this, {station, key, processing, name, rate, allowance, counter, circuit, leads});
    this.redis = new Redis(station.options.url, {maxRetriesPerRequest: null});
    this.inHand = []; // taken and not worked yet
    this.tries = 0;
    this.fresh = true;
    this.leftover = false; // what is in hand was left by an earlier process
    this.digest = station.processedOfList[key];
  }

  async live() {
    // What an earlier process left in the processing list is tried once more; the leader of the workers does it.
    if (this.fresh && this.leads) this.inHand = await this.redis.lrange(this.processing, 0, -1);
    this.leftover = this.fresh || this.leftover;
    this.fresh = false;
    while (!this.station.stopping || this.inHand.length > 0) {
      while (this.inHand.length > 0) await this.work();
      if (this.station.stopping) return;
      if (!(await this.mayTake())) continue;
      const count = this.allowance.take(kBatch);
      if (count === 0) return;
      this.leftover = false;
      this.inHand = await this.take(count);
      if (this.inHand.length === 0) await sleep(kRestartMs);
    }
  }

  async mayTake() {
    if (this.station.options.warmup || this.circuit.state === 'closed') return true;
    if (this.leads && (await this.looksClean())) return true;
    await sleep(kRestartMs);
    return false;
  }

  async looksClean() {
    const depth = this.circuit.state === 'open' ? kProbe : kBatch;
    this.circuit.looked((await this.redis.lrange(this.key, -depth, -1)).every(parses));
    return this.circuit.state !== 'open';
  }

  async take(count) {
    const pipeline = this.redis.pipeline();
    for (let i = 0; i < count; ++i) pipeline.lmove(this.key, this.processing, 'RIGHT', 'LEFT');
    return (await pipeline.exec()).map(([error, body]) => must(error, body)).filter((body) => body !== null);
  }

  // Works through what is in hand up to the first failure. What failed three times stays in the processing list.
  async work() {
    let count = 0;
    while (count < this.inHand.length && parses(this.inHand[count])) count += 1;
    await this.finish(this.inHand.splice(0, count));
    if (this.inHand.length > 0) this.fail();
    await this.station.pace(this, count);
  }

  async finish(bodies) {
    if (bodies.length === 0) return;
    const pipeline = this.redis.pipeline();
    for (const body of bodies) pipeline.lrem(this.processing, 1, body);
    (await pipeline.exec()).forEach(([error, removed], i) => {
      if (must(error, removed) === 1) this.digest.add(sha256(bodies[i]));
    });
    this.counter.processed += bodies.length;
    this.circuit.succeeded();
  }

  fail() {
    this.counter.failed += 1;
    const tooMany = this.circuit.failed();
    if (++this.tries >= kTries) {
      this.tries = 0;
      this.inHand.shift();
    }
    if (tooMany && this.leftover) this.inHand = []; // the rest of it stays in the processing list
    throw new Crash(`${this.key}: a message does not parse`);
  }
}

function must(error, value) {
  if (error) throw error;
  return value;
}

// ---- who runs

async function streamGroup(station, key, group, names, take) {
  const counter = station.counter(key, group.name);
  const allowance = new Allowance(take);
  const rate = station.options.rate / names.length;
  const redis = new Redis(station.options.url);
  for (const name of names) await redis.xgroup('CREATECONSUMER', key, group.name, name);
  await redis.quit();
  return names.map((name) => new StreamConsumer(station, {key, group: group.name, ordered: group.ordered, name, rate, allowance, counter}));
}

function listWorkers(station, key, processing, names, take) {
  station.processedOfList[key] = new MultisetDigest();
  const shared = {key, processing, allowance: new Allowance(take), counter: station.counter(key, 'workers'), circuit: new Circuit()};
  return names.map((name, i) => new ListWorker(station, {...shared, name, rate: station.options.rate / names.length, leads: i === 0}));
}

async function fleet(station) {
  const {warmup, url} = station.options;
  const redis = new Redis(url);
  const consumers = [];
  for (const {key, groups} of kStreams) {
    const length = await redis.xlen(key);
    for (const group of groups) {
      const take = warmup ? Math.round(length * group.read) : Infinity;
      consumers.push(...(await streamGroup(station, key, group, consumersOf(group), take)));
    }
  }
  await redis.quit();
  const names = ['webhook-sender-1', 'webhook-sender-2', 'webhook-sender-3'];
  consumers.push(...listWorkers(station, kList.key, kList.processing, names, warmup ? kList.warmup : Infinity));
  return consumers;
}

async function chosen(station) {
  const {stream, group, name, ordered, list, processing, take, warmup} = station.options;
  if (station.options.fleet) return fleet(station);
  const limit = warmup ? Number(take) : Infinity;
  if (stream && group && name) return streamGroup(station, stream, {name: group, ordered}, [name], limit);
  if (list && processing && name) return listWorkers(station, list, processing, [name], limit);
  return null;
}

const text = {type: 'string'};
const flag = {type: 'boolean', default: false};
const {values} = parseArgs({
  options: {
    url: text, stream: text, group: text, name: text, list: text, processing: text, take: text, stats: text, processed: text, log: text,
    rate: {type: 'string', default: '1000'}, fleet: flag, warmup: flag, ordered: flag,
  },
});
const station = new Station({...values, rate: Number(values.rate)});
const consumers = values.url && station.options.rate > 0 ? await chosen(station) : null;
if (!consumers) {
  console.error('usage: consumer.mjs --url URL (--fleet | --stream KEY --group G --name C | --list KEY --processing KEY --name C); see the head of the file');
  process.exit(2);
}
for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => (station.stopping = true));
const ticker = setInterval(() => station.report(), 1000);
await Promise.all(consumers.map((consumer) => station.supervise(consumer)));
clearInterval(ticker);
station.report();
await Promise.all(consumers.map((consumer) => consumer.redis.quit()));
if (values.warmup) {
  const sum = (field) => station.lines.reduce((total, line) => total + line[field], 0);
  console.log(JSON.stringify({consumers: consumers.length, processed: sum('processed'), crashes: sum('failed')}));
}
