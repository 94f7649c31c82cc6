// amqplib, as a Node service uses it. `fill PORT QUEUE`: twenty messages; `reject PORT QUEUE`: takes all and refuses each for good;
// `show PORT QUEUE`: takes all and prints them, one line each.
import amqp from 'amqplib';

const [what, port, queue] = process.argv.slice(2);
const connection = await amqp.connect(`amqp://guest:guest@127.0.0.1:${port}/`);
if (what === 'fill') {
  const channel = await connection.createConfirmChannel();
  for (let i = 0; i < 20; ++i) {
    const body = Buffer.from(i === 7 ? `{"v":1,"transaction_id": broken_${i}"}` : `{"v":1,"transaction_id":"ok_${i}"}`);
    const headers = {text: 'é', int: -5, big: 2 ** 40, float: 1.5, yes: true, nothing: null, list: [1, 'a', {b: 2}], nested: {k: {deep: [true]}}, bytes: Buffer.from([255, 0])};
    channel.publish('', queue, body, {persistent: true, contentType: 'application/json', contentEncoding: 'utf-8', priority: 3, correlationId: 'c', replyTo: 'r', expiration: 3600000,
      messageId: `m${i}`, timestamp: 1700000000, type: 't', userId: 'guest', appId: 'a', headers});
  }
  await channel.waitForConfirms();
} else if (what === 'reject') {
  const channel = await connection.createChannel();
  for (let message; (message = await channel.get(queue));) channel.nack(message, false, false);
  await channel.close();
} else {
  const channel = await connection.createChannel();
  const lines = [];
  for (let message; (message = await channel.get(queue, {noAck: true}));) {
    const {deliveryTag, redelivered, messageCount, ...fields} = message.fields;
    lines.push(JSON.stringify({body: message.content.toString('base64'), fields, properties: message.properties}));
  }
  console.log(lines.sort().join('\n'));
}
await connection.close();
