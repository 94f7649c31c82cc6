// incident.mjs generate --url redis://127.0.0.1:PORT --messages N --seed S --truth FILE [--now MS] [--beside]
//
// Loads the incident of the mission into an empty redis-server and writes the ground truth, which the agent never
// sees. Bodies follow from the seed alone; stream ids carry times of the twenty minutes before --now.
//
// tenant_42 owns two streams and a list. The oldest message of each is poison: that is what the strictly ordered
// groups hang on, and why no message of a stream has been acknowledged by all of its groups. Ahead of the list's
// backlog stand 600 older messages, 13 of them poison: the warm-up takes them out before anything is counted. The
// valid ones are processed and gone, the 13 stay in the processing list as evidence; neither belongs to N.
//
// With --beside some of the N are left for the brokers beside Redis; receipts.mjs and rabbit.mjs make them and add to the truth.
//
// Every message is parsed here as the consumers parse it: poison must throw in JSON.parse, valid must pass.

import {writeFileSync} from 'node:fs';
import {createConnection} from 'node:net';
import {parseArgs} from 'node:util';
import {Ledger, draw} from './ledger.mjs';
import {Chance, Spread, entrySource, entryType} from './messages.mjs';
import {contentOfEntry, kFields, kList, kNeighbours, kStreams, plan} from './shape.mjs';

const kSpanMs = 20 * 60 * 1000;
const kChunkBytes = 1 << 20;
const kLargestCommand = 1 << 16;

// Raw RESP over one socket: commands go out in chunks, replies are only counted and checked for errors.
class Loader {
  constructor(url) {
    const {hostname, port} = new URL(url);
    this.socket = createConnection({host: hostname, port: Number(port), noDelay: true});
    this.chunk = Buffer.allocUnsafe(kChunkBytes);
    this.used = 0;
    this.sent = 0;
    this.answered = 0;
    this.line = []; // bytes of a reply's line that is not complete yet
    this.waiting = null;
    this.failure = null;
    this.socket.on('data', (bytes) => this.#answers(bytes));
    this.socket.on('error', (error) => this.#fail(error));
    this.socket.on('close', () => this.#fail(new Error('redis closed the connection')));
  }

  // Appends one command; true when the caller must await flush() before the next.
  put(command) {
    this.used += this.chunk.write(command, this.used, 'utf8');
    this.sent += 1;
    return this.used > kChunkBytes - kLargestCommand;
  }

  async flush() {
    if (this.failure) throw this.failure;
    const ready = this.socket.write(this.chunk.subarray(0, this.used));
    this.chunk = Buffer.allocUnsafe(kChunkBytes);
    this.used = 0;
    if (!ready) await new Promise((resolve) => this.socket.once('drain', resolve));
  }

  async finish() {
    await this.flush();
    if (this.answered < this.sent && !this.failure) await new Promise((resolve) => (this.waiting = resolve));
    if (this.failure) throw this.failure;
    this.socket.removeAllListeners('close');
    this.socket.end();
  }

  // Replies used here are status, integer, bulk (two lines) and error.
  #answers(bytes) {
    let start = 0;
    for (let end = bytes.indexOf(10); end >= 0; end = bytes.indexOf(10, start)) {
      const first = this.line.length > 0 ? this.line[0] : bytes[start];
      if (first === 45) this.#fail(new Error(`redis refused a command: ${bytes.toString('latin1', start, end)}`));
      if (first !== 36) this.answered += 1; // a bulk reply counts at its second line
      this.line = [];
      start = end + 1;
    }
    if (start < bytes.length) this.line.push(bytes[start]);
    if (this.waiting && this.answered >= this.sent) this.waiting();
  }

  #fail(error) {
    this.failure ??= error;
    this.waiting?.();
  }
}

const bulk = (text) => `$${Buffer.byteLength(text)}\r\n${text}\r\n`;
const command = (...parts) => `*${parts.length}\r\n${parts.map(bulk).join('')}`;

// Increasing ids over the span, several a millisecond where it is busy.
class StreamIds {
  constructor(chance, now, count) {
    Object.assign(this, {chance, start: now - kSpanMs, step: (kSpanMs - 2000) / count, index: 0, ms: 0, sequence: 0});
  }

  next() {
    const ms = this.start + Math.floor((this.index++ + this.chance.below(1000) / 1000) * this.step);
    this.sequence = ms === this.ms ? this.sequence + 1 : 0;
    this.ms = ms;
    return `${ms}-${this.sequence}`;
  }
}

async function loadStream(loader, queue, seed, now) {
  const chance = new Chance(`${seed}/${queue.key}`);
  const ids = new StreamIds(new Chance(`${seed}/${queue.key}/ids`), now, queue.count);
  const spread = new Spread(new Chance(`${seed}/${queue.key}/poison`), queue.count, queue.poison ?? 0);
  const ledger = new Ledger(queue);
  for (let i = 0; i < queue.count; ++i) {
    const message = draw(chance, spread.next());
    const id = ids.next();
    const type = entryType(chance, queue.key);
    const source = entrySource(chance);
    const pairs = source ? ['type', type, 'source', source, 'payload', message.body] : ['type', type, 'payload', message.body];
    ledger.note({id}, contentOfEntry(pairs), message);
    if (loader.put(command('XADD', queue.key, id, ...pairs))) await loader.flush();
  }
  return ledger;
}

// Producers LPUSH, consumers take from the right: the first message drawn is the oldest, at the list's right end.
async function loadList(loader, queue, seed, name = queue.key) {
  const chance = new Chance(`${seed}/${name}`);
  const spread = new Spread(new Chance(`${seed}/${name}/poison`), queue.count, queue.poison ?? 0);
  const ledger = new Ledger(queue);
  for (let i = 0; i < queue.count; ++i) {
    const message = draw(chance, spread.next());
    ledger.note({index: queue.count - 1 - i}, message.body, message);
    if (loader.put(command('LPUSH', queue.key, message.body))) await loader.flush();
  }
  return ledger;
}

async function createGroups(loader, key, groups) {
  for (const group of groups) loader.put(command('XGROUP', 'CREATE', key, group, '0'));
  await loader.flush();
}

async function generate({url, messages, seed, truth, now, withBeside}) {
  const started = performance.now();
  const {poison, queues, beside} = plan(messages, withBeside);
  const loader = new Loader(url);
  const ledgers = [];
  for (const queue of queues.filter(({kind}) => kind === 'stream')) {
    ledgers.push(await loadStream(loader, queue, seed, now));
    await createGroups(loader, queue.key, kStreams.find(({key}) => key === queue.key).groups.map(({name}) => name));
  }
  const warmup = {key: kList.key, kind: 'list', count: kList.warmup, poison: kList.warmupPoison};
  const leftover = await loadList(loader, warmup, seed, `${kList.key}/warmup`);
  ledgers.push(await loadList(loader, queues[2], seed));
  const neighbours = [];
  for (const queue of kNeighbours) {
    neighbours.push(queue.kind === 'stream' ? await loadStream(loader, queue, seed, now) : await loadList(loader, queue, seed));
    if (queue.kind === 'stream') await createGroups(loader, queue.key, queue.groups);
  }
  await loader.finish();
  const document = {
    seed, now, messages, poison, fields: kFields, beside,
    queues: ledgers, leftover: {key: kList.processing, digest: leftover.poisonDigest, poison: leftover.poison}, neighbours,
  };
  writeFileSync(truth, JSON.stringify(document));
  const bytes = ledgers.reduce((sum, ledger) => sum + ledger.bytes, 0);
  return {messages, poison, mean_body: Math.round(bytes / messages), seconds: Number(((performance.now() - started) / 1000).toFixed(2))};
}

const {values, positionals} = parseArgs({
  allowPositionals: true,
  options: {
    url: {type: 'string'}, truth: {type: 'string'}, messages: {type: 'string', default: '847293'},
    seed: {type: 'string', default: '42'}, now: {type: 'string'}, beside: {type: 'boolean', default: false},
  },
});
const messages = Number(values.messages);
if (positionals[0] !== 'generate' || !values.url || !values.truth || !Number.isSafeInteger(messages) || messages < 2000) {
  console.error('usage: incident.mjs generate --url redis://127.0.0.1:PORT --truth FILE [--messages N >= 2000] [--seed S] [--now MS] [--beside]');
  process.exit(2);
}
const now = values.now ? Number(values.now) : Date.now();
console.log(JSON.stringify(await generate({url: values.url, messages, seed: values.seed, truth: values.truth, now, withBeside: values.beside})));
