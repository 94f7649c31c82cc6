// Packs dist/ into one file for the program: "PATH TYPE ETAG SIZE" a line, an empty line, the gzipped files in that order.
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { extname, join, relative } from 'node:path';
import { gzipSync } from 'node:zlib';

const types = { '.html': 'text/html;charset=utf-8', '.js': 'text/javascript;charset=utf-8', '.css': 'text/css;charset=utf-8', '.svg': 'image/svg+xml', '.woff2': 'font/woff2', '.json': 'application/json', '.txt': 'text/plain;charset=utf-8' };
const files = (dir) => readdirSync(dir, { withFileTypes: true }).flatMap((e) => (e.isDirectory() ? files(join(dir, e.name)) : [join(dir, e.name)]));

const head = [];
const bodies = [];
let script = 0;
for (const file of files('dist').filter((f) => !f.endsWith('.pack')).sort()) {
  const type = types[extname(file)];
  if (!type) throw new Error(`${file}: no content type for this kind of file`);
  const body = gzipSync(readFileSync(file), { level: 9 });
  const etag = `"${createHash('sha256').update(body).digest('hex').slice(0, 16)}"`;
  head.push(`/${relative('dist', file)} ${type} ${etag} ${body.length}`);
  bodies.push(body);
  if (/\/index-[^/]*\.js$/.test(file)) script += body.length;
}
const pack = Buffer.concat([Buffer.from(`${head.join('\n')}\n\n`), ...bodies]);
const limits = { 'first script (gzip)': [script, 250_000], 'all files': [pack.length, 600_000] };
for (const [what, [size, most]] of Object.entries(limits)) {
  console.log(`${what}: ${size} bytes, at most ${most}`);
  if (size > most) throw new Error(`${what} is over its budget`);
}
writeFileSync('dist/web.pack', pack);
