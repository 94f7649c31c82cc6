// node endpoint.mjs [PORT]: an SQS endpoint on loopback behind the gate. Prints one line of JSON when it is ready, and
// ends with its standard input, so that it never outlives the one who started it.
import {start} from './fauxqs.mjs';
import {startGate} from './gate.mjs';

const keys = {
  AKIDTEST: {secret: 'test-secret'},
  ASIATEST: {secret: 'test-session-secret', token: 'test-session-token'},
  ASIAEXPIRED: {secret: 'test-session-secret', token: 'old-token', expired: true},
};
const server = await start(0);
const gate = await startGate(Number(process.argv[2] ?? 0), server.port, keys, 'us-east-1', server);
console.log(JSON.stringify({gate, direct: server.port}));
process.stdin.resume();
process.stdin.on('end', () => process.exit(0));
