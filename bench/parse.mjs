// JSON.parse of a bench corpus: parse.mjs FILE [NDJSON]. Prints milliseconds; with NDJSON, writes what parses, a line each.
import {createWriteStream, readFileSync} from 'node:fs';

const bytes = readFileSync(process.argv[2]);
const bodies = [];
for (let at = 0; at < bytes.length;) {
  const size = bytes.readUInt32LE(at + 1);
  bodies.push(bytes.toString('utf8', at + 5, at + 5 + size));
  at += 5 + size;
}
const good = [];
const start = performance.now();
for (const body of bodies) {
  try {
    JSON.parse(body);
    good.push(body);
  } catch {
    // a poison message
  }
}
console.log(Math.round(performance.now() - start));
if (process.argv[3]) {
  const out = createWriteStream(process.argv[3]);
  for (const body of good) out.write(`${body.replaceAll('\n', ' ')}\n`);
  out.end();
}
