// Writes a corpus for the benches: corpus.mjs demo|hard COUNT FILE. Each message: one byte how it went (p passed, f failed
// again and again, w waits), its length (u32, little-endian), its bytes. Everything follows from the seed.
import {closeSync, openSync, writeSync} from 'node:fs';
import {Chance, poisonBody, validBody} from '../demo/messages.mjs';

const [kind, count, file] = [process.argv[2], Number(process.argv[3]), process.argv[4]];
const c = new Chance(`bench:${kind}`);

// Large nested events of many types, each with its own members, many of them optional.
function hardBody(broken) {
  const type = c.below(40);
  const text = (n) => Array.from({length: n}, () => c.pick(['lorem', 'ipsum', 'dolor', 'sit', 'amet', 'größe', '\\"quoted\\"', 'tempor'])).join(' ');
  const user = (id) => ({login: `user-${c.below(90000)}`, id: broken && id ? `x${c.below(10)}` : c.below(1e8), node_id: c.hex8() + c.hex8(), url: `https://api.example.com/users/${c.below(90000)}`, type: c.pick(['User', 'User', 'Bot']), site_admin: c.one_in(9)});
  const leaf = (k) => {
    switch ((type * 7 + k) % 9) {
      case 0: return c.below(1e6);
      case 1: return text(1 + c.below(12));
      case 2: return `2026-03-${10 + c.below(19)}T10:${10 + c.below(49)}:00Z`;
      case 3: return c.one_in(2);
      case 4: return c.one_in(3) ? null : c.hex8();
      case 5: return c.below(1000) / 7;
      case 6: return [text(1), text(2)];
      case 7: return {sha: c.hex8() + c.hex8(), url: `https://example.com/${c.hex8()}`, by: user(false)};
      default: return JSON.stringify({ref: `refs/heads/${c.pick(['main', 'next'])}`, size: c.below(50)});
    }
  };
  const event = {type: `event_${type}`, version: 1 + (type % 3), actor: user(true), payload: {}};
  for (let k = 0; k < 30; ++k) if (k % 5 !== 0 || c.one_in(2)) event.payload[`t${type}_m${k}`] = leaf(k);
  event.payload.commits = Array.from({length: 1 + c.below(6)}, () => ({message: text(6), author: user(false), distinct: true, added: [`src/${c.hex8()}.cc`]}));
  return JSON.stringify(event);
}

const out = openSync(file, 'w');
let chunk = [], bytes = 0;
for (let i = 0; i < count; ++i) {
  const bad = c.one_in(46), delivered = i < count * 0.6;
  const body = Buffer.from(kind === 'demo' ? (bad ? poisonBody(c).body : validBody(c)) : hardBody(bad));
  const head = Buffer.alloc(5);
  head.write(delivered ? (bad ? 'f' : 'p') : 'w');
  head.writeUInt32LE(body.length, 1);
  chunk.push(head, body);
  bytes += 5 + body.length;
  if (bytes > 1 << 22 || i + 1 === count) {
    writeSync(out, Buffer.concat(chunk));
    chunk = [];
    bytes = 0;
  }
}
closeSync(out);
