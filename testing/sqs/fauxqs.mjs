// fauxqs with what its version 2.4.1 lacks for large queues; pinned in package.json, so the patches below fit.
import net from 'node:net';

const dist = './node_modules/fauxqs/dist/';
const {SqsQueue} = await import(dist + 'sqs/sqsStore.js');
const {INVALID_MESSAGE_BODY_CHAR} = await import(dist + 'sqs/sqsTypes.js');
const {startFauxqs} = await import(dist + 'app.js');

// It listens on all interfaces: loopback only.
const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (options, ...rest) {
  return listen.call(this, options?.port === undefined ? options : {...options, host: '127.0.0.1'}, ...rest);
};

// Array.shift of a large array takes time in proportion to its length.
class Line {
  constructor(items = []) { this.items = [...items]; this.head = 0; }
  get length() { return this.items.length - this.head; }
  push(...more) { return this.items.push(...more); }
  shift() {
    if (this.head >= this.items.length) return undefined;
    const first = this.items[this.head];
    this.items[this.head++] = undefined;
    if (this.head > 65536 && this.head * 2 > this.items.length) { this.items = this.items.slice(this.head); this.head = 0; }
    return first;
  }
  *[Symbol.iterator]() { for (let i = this.head; i < this.items.length; ++i) yield this.items[i]; }
}

// It walks all messages in flight on every receive: walk only when the earliest deadline has passed.
const {processTimers, dequeue, changeVisibility, getAttribute} = SqsQueue.prototype;
const earlier = (queue, at) => { if (!(queue.nextDeadline <= at)) queue.nextDeadline = at; };
SqsQueue.prototype.processTimers = function () {
  if (Array.isArray(this.messages)) this.messages = new Line(this.messages);
  const due = this.nextDeadline === undefined || Date.now() >= this.nextDeadline || this.delayedMessages.length > 0 || this.fifoDelayed.size > 0;
  if (!due) { if (this.messages.length > 0) this.notifyWaiters(); return; }
  processTimers.call(this);
  this.nextDeadline = Infinity;
  for (const entry of this.inflightMessages.values()) earlier(this, entry.visibilityDeadline);
};
SqsQueue.prototype.dequeue = function (count, visibility, resolver) {
  this.processTimers();
  const taken = dequeue.call(this, count, visibility, resolver);
  if (taken.length > 0) earlier(this, Date.now() + (visibility ?? Number(this.attributes.VisibilityTimeout)) * 1000);
  return taken;
};
SqsQueue.prototype.changeVisibility = function (receipt, seconds) {
  const answer = changeVisibility.call(this, receipt, seconds);
  if (seconds > 0) earlier(this, Date.now() + seconds * 1000);
  return answer;
};
// What expired shows in the counts.
SqsQueue.prototype.getAttribute = function (name) {
  if (name.startsWith('ApproximateNumberOf')) this.processTimers();
  return getAttribute.call(this, name);
};
// AWS takes characters beyond the basic plane.
INVALID_MESSAGE_BODY_CHAR.test = (text) => /[^\x09\x0A\x0D\x20-\uD7FF\uE000-\uFFFD\u{10000}-\u{10FFFF}]/u.test(text);

// Messages of a stage come with receives that they already had.
let receives = 0;
const {enqueue} = SqsQueue.prototype;
SqsQueue.prototype.enqueue = function (message) {
  if (receives > 0) message.approximateReceiveCount = receives;
  return enqueue.call(this, message);
};

// → {port, stop, stage, inspect}
export async function start(port = 0) {
  const server = await startFauxqs({port, logger: false});
  const send = (queue, message) => {
    receives = message.receives ?? 0;
    server.sendMessage(queue, message.body, {messageAttributes: message.attributes, messageGroupId: message.group, messageDeduplicationId: message.group && Math.random().toString(36)});
    receives = 0;
  };
  return {
    port: server.port,
    stop: () => server.stop(),
    inspect: (name) => server.inspectQueue(name),
    // {queue, attributes, tags, messages: [{body, attributes, group, receives}], generate: {count, poison_every, receives}}
    stage({queue, attributes, tags, messages = [], generate}) {
      server.createQueue(queue, {attributes, tags});
      for (const message of messages) send(queue, message);
      for (let i = 0; i < (generate?.count ?? 0); ++i) {
        const poison = i % generate.poison_every === 7;
        send(queue, {body: poison ? `{"v":1,"transaction_id": tx_${i},"amount":5}` : `{"v":1,"transaction_id":"tx_${i}","amount":5}`, receives: poison ? generate.receives : 0});
      }
    },
  };
}
