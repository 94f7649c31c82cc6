/** Checks a C2SP tlog-proof in the browser: the Merkle path by RFC 6962, the signed head by Ed25519. Nothing is believed. */
export type Checked = { size: number; root: string; path: { hash: string; side: 'left' | 'right' }[]; leaf: string; signature: boolean; inclusion: boolean };

const bytes = (base64: string) => Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
const text = (b: Uint8Array) => btoa(String.fromCharCode(...b));

async function sha256(...parts: Uint8Array[]) {
  const all = new Uint8Array(parts.reduce((n, p) => n + p.length, 0));
  let at = 0;
  for (const p of parts) {
    all.set(p, at);
    at += p.length;
  }
  return new Uint8Array(await crypto.subtle.digest('SHA-256', all));
}
const node = (left: Uint8Array, right: Uint8Array) => sha256(Uint8Array.of(1), left, right);

/** RFC 9162, 2.1.3.2: from the leaf up to the root. */
async function climb(leaf: Uint8Array, index: number, size: number, hashes: Uint8Array[]) {
  const path: Checked['path'] = [];
  let fn = index;
  let sn = size - 1;
  let root = leaf;
  for (const hash of hashes) {
    if (sn === 0) return { root: null, path };
    if (fn % 2 === 1 || fn === sn) {
      root = await node(hash, root);
      path.push({ hash: text(hash), side: 'left' });
      while (fn % 2 === 0 && fn !== 0) {
        fn = Math.floor(fn / 2);
        sn = Math.floor(sn / 2);
      }
    } else {
      root = await node(root, hash);
      path.push({ hash: text(hash), side: 'right' });
    }
    fn = Math.floor(fn / 2);
    sn = Math.floor(sn / 2);
  }
  return { root: sn === 0 ? root : null, path };
}

async function signed(note: string, verifierKey: string) {
  const [, name, key] = /^([^+]+)\+[0-9a-f]{8}\+(.+)$/.exec(verifierKey) ?? []; // base64 holds + too
  const end = note.indexOf('\n\n');
  const line = note.slice(end + 2).split('\n').find((l) => l.startsWith(`\u2014 ${name} `));
  if (end < 0 || !line || !key) return false;
  const publicKey = await crypto.subtle.importKey('raw', bytes(key).slice(1), 'Ed25519', false, ['verify']);
  return crypto.subtle.verify('Ed25519', publicKey, bytes(line.split(' ')[2]!).slice(4), new TextEncoder().encode(note.slice(0, end + 1)));
}

export async function check(proof: string, entry: string, verifierKey: string): Promise<Checked> {
  const end = proof.indexOf('\n\n');
  const lines = proof.slice(0, end).split('\n');
  const index = lines.findIndex((l) => l.startsWith('index '));
  if (end < 0 || index < 0) throw new Error('This is no tlog-proof.');
  const note = proof.slice(end + 2);
  const [origin, size, root] = note.split('\n');
  if (origin !== verifierKey.split('+')[0]) throw new Error('The head is of another log.');
  const leaf = await sha256(Uint8Array.of(0), new TextEncoder().encode(entry));
  const climbed = await climb(leaf, Number(lines[index]!.slice(6)), Number(size), lines.slice(index + 1).map(bytes));
  return {
    size: Number(size),
    root: root ?? '',
    path: climbed.path,
    leaf: text(leaf),
    signature: await signed(note, verifierKey),
    inclusion: climbed.root !== null && text(climbed.root) === root,
  };
}
