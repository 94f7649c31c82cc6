// @vitest-environment node
import { createHash, generateKeyPairSync, sign } from 'node:crypto';
import { expect, it } from 'vitest';
import { check } from '../src/proof';

const sha = (...parts: Uint8Array[]) => createHash('sha256').update(Buffer.concat(parts)).digest();
const leafOf = (entry: string) => sha(Uint8Array.of(0), Buffer.from(entry));
// RFC 6962, 2.1: written from the text, by recursion, unlike what is tested.
const half = (n: number) => 2 ** Math.floor(Math.log2(n - 1));
const rootOf = (leaves: Buffer[]): Buffer => (leaves.length === 1 ? leaves[0]! : sha(Uint8Array.of(1), rootOf(leaves.slice(0, half(leaves.length))), rootOf(leaves.slice(half(leaves.length)))));
function pathOf(leaves: Buffer[], m: number): Buffer[] {
  if (leaves.length === 1) return [];
  const k = half(leaves.length);
  return m < k ? [...pathOf(leaves.slice(0, k), m), rootOf(leaves.slice(k))] : [...pathOf(leaves.slice(k), m - k), rootOf(leaves.slice(0, k))];
}

// A key whose base64 holds a '+', the mark that also divides a verifier key.
let { publicKey, privateKey } = generateKeyPairSync('ed25519');
const raw = () => publicKey.export({ type: 'spki', format: 'der' }).subarray(-32);
while (!Buffer.concat([Uint8Array.of(1), raw()]).toString('base64').includes('+')) ({ publicKey, privateKey } = generateKeyPairSync('ed25519'));
const rawKey = raw();
const verifier = `log/a+01020304+${Buffer.concat([Uint8Array.of(1), rawKey]).toString('base64')}`;
const entries = Array.from({ length: 13 }, (_, i) => `{"n":${i}}`);
function proofOf(index: number, size = entries.length) {
  const leaves = entries.slice(0, size).map(leafOf);
  const body = `log/a\n${size}\n${rootOf(leaves).toString('base64')}\n`;
  const signature = Buffer.concat([Uint8Array.of(1, 2, 3, 4), sign(null, Buffer.from(body), privateKey)]).toString('base64');
  return `c2sp.org/tlog-proof@v1\nindex ${index}\n${pathOf(leaves, index).map((h) => `${h.toString('base64')}\n`).join('')}\n${body}\n\u2014 log/a ${signature}\n`;
}

it('proves every entry of every size of tree', async () => {
  for (let size = 1; size <= entries.length; ++size)
    for (let i = 0; i < size; ++i) expect(await check(proofOf(i, size), entries[i]!, verifier)).toMatchObject({ inclusion: true, signature: true, size });
});

it('does not prove another entry, another place, a shorter path, a changed head or another key', async () => {
  const proof = proofOf(5);
  expect((await check(proof, entries[6]!, verifier)).inclusion).toBe(false);
  expect((await check(proof.replace('index 5', 'index 4'), entries[5]!, verifier)).inclusion).toBe(false);
  expect((await check(proof.replace(/(index 5\n)[^\n]+\n/, '$1'), entries[5]!, verifier)).inclusion).toBe(false);
  expect((await check(proof.replace('log/a\n13\n', 'log/a\n12\n'), entries[5]!, verifier)).signature).toBe(false);
  const other = generateKeyPairSync('ed25519').publicKey.export({ type: 'spki', format: 'der' }).subarray(-32);
  expect((await check(proof, entries[5]!, `log/a+01020304+${Buffer.concat([Uint8Array.of(1), other]).toString('base64')}`)).signature).toBe(false);
});
