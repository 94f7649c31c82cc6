// An AWS SDK client, for what it and we must read alike. node interop.mjs send|receive ENDPOINT QUEUE
import {DeleteMessageCommand, ReceiveMessageCommand, SendMessageCommand, SQSClient} from '@aws-sdk/client-sqs';

const [, , verb, endpoint, queue] = process.argv;
const client = new SQSClient({endpoint, region: 'us-east-1', credentials: {accessKeyId: 'AKIDTEST', secretAccessKey: 'test-secret'}});
const QueueUrl = `${endpoint}/000000000000/${queue}`;

const messages = [
  {body: '{"plain":true}', attributes: {}},
  {body: 'tab\t, line\nend, quote " and \u00e9\u4e2d\u{1f600}', attributes: {text: {DataType: 'String', StringValue: 'v\u00e4lue'}, count: {DataType: 'Number.int', StringValue: '42'}}},
  {body: 'bytes', attributes: {blob: {DataType: 'Binary.png', BinaryValue: new Uint8Array([0, 1, 254, 255])}}},
  {body: 'ten', attributes: Object.fromEntries([...'abcdefghij'].map((c) => [c, {DataType: 'String', StringValue: c.repeat(3)}]))},
];
const text = (attributes) => Object.entries(attributes).map(([name, a]) => [name, a.DataType, a.StringValue ?? Buffer.from(a.BinaryValue).toString('hex')]).sort();
const line = (m) => JSON.stringify([m.body, text(m.attributes)]);

if (verb === 'send') {
  for (const m of messages) await client.send(new SendMessageCommand({QueueUrl, MessageBody: m.body, MessageAttributes: m.attributes}));
} else {
  const seen = [];
  for (let i = 0; i < 20 && seen.length < messages.length; ++i) {  // the SDK itself compares body MD5s
    const answer = await client.send(new ReceiveMessageCommand({QueueUrl, MaxNumberOfMessages: 10, MessageAttributeNames: ['All'], WaitTimeSeconds: 1}));
    for (const m of answer.Messages ?? []) {
      seen.push(line({body: m.Body, attributes: m.MessageAttributes ?? {}}));
      await client.send(new DeleteMessageCommand({QueueUrl, ReceiptHandle: m.ReceiptHandle}));
    }
  }
  const wanted = messages.map(line).sort().join('\n'), got = seen.sort().join('\n');
  if (wanted !== got) { console.error(`expected\n${wanted}\ngot\n${got}`); process.exit(1); }
}
