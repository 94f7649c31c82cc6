// A live producer and consumer by the AWS SDK. node traffic.mjs ENDPOINT QUEUE, until standard input ends; then one JSON
// document: {"produced": [body…], "consumed": [body…]}. Every 50th body that it sends is poison; the consumer deletes what it
// can parse and leaves the rest, as consumers do.
import {DeleteMessageBatchCommand, ReceiveMessageCommand, SendMessageBatchCommand, SQSClient} from '@aws-sdk/client-sqs';

const [, , endpoint, queue] = process.argv;
const client = new SQSClient({endpoint, region: 'us-east-1', credentials: {accessKeyId: 'AKIDTEST', secretAccessKey: 'test-secret'}});
const QueueUrl = `${endpoint}/000000000000/${queue}`;
const produced = [], consumed = [];
let running = true;

async function produce() {
  for (let n = 0; running; n += 10) {
    const bodies = Array.from({length: 10}, (_, i) => ((n + i) % 50 === 7 ? `{"v":1,"transaction_id": live_${n + i},"amount":5}` : `{"v":1,"transaction_id":"live_${n + i}","amount":5}`));
    const answer = await client.send(new SendMessageBatchCommand({QueueUrl, Entries: bodies.map((MessageBody, i) => ({Id: String(i), MessageBody}))}));
    for (const sent of answer.Successful ?? []) produced.push(bodies[Number(sent.Id)]);
    await new Promise((done) => setTimeout(done, 50));
  }
}

const parses = (text) => { try { JSON.parse(text); return true; } catch { return false; } };

async function consume() {
  while (running) {
    const {Messages = []} = await client.send(new ReceiveMessageCommand({QueueUrl, MaxNumberOfMessages: 10}));
    const good = Messages.filter((m) => parses(m.Body));
    if (good.length > 0) {
      const answer = await client.send(new DeleteMessageBatchCommand({QueueUrl, Entries: good.map((m, i) => ({Id: String(i), ReceiptHandle: m.ReceiptHandle}))}));
      for (const gone of answer.Successful ?? []) consumed.push(good[Number(gone.Id)].Body);
    }
    await new Promise((done) => setTimeout(done, 20));
  }
}

process.stdin.resume();
process.stdin.on('end', () => { running = false; });
await Promise.all([produce(), consume()]);
console.log(JSON.stringify({produced, consumed}));
