// What the dashboard's tests stand on: a real Redis with an incident in it, its consumers, an agent, and Chromium.
import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { chromium } from 'playwright-core';

export const root = resolve(import.meta.dirname, '../..');
export const deployclaw = process.env.DEPLOYCLAW ?? join(root, 'build/release/deployclaw');
const MESSAGES = 20_000;
const HOSTILE = 'hostile:<img src=x onerror=alert(1)>\u202e\u0007"';
export const dir = mkdtempSync(join(tmpdir(), 'claw-web-'));
export const shots = join(root, 'build/web-shots');
mkdirSync(shots, { recursive: true });

export const children = [];
export const failures = [];
export const say = (text) => console.log(text);
export function expect(what, ok, detail = '') {
  if (ok) return say(`  ok    ${what}`);
  failures.push(what);
  say(`  FAIL  ${what}  ${detail}`);
}

export const freePort = () => new Promise((done) => { const s = createServer().listen(0, '127.0.0.1', () => { const { port } = s.address(); s.close(() => done(port)); }); });
export function start(command, args, options = {}) {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], ...options });
  child.text = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (b) => (child.text = (child.text + b).slice(-20_000)));
  children.push(child);
  return child;
}
export async function end() {
  for (const child of children.reverse()) {
    if (child.exitCode !== null) continue;
    const gone = new Promise((done) => child.once('exit', done));
    child.kill('SIGTERM');
    await Promise.race([gone, sleep(8_000)]);
    child.kill('SIGKILL');
  }
  rmSync(dir, { recursive: true, force: true });
}
export async function until(what, seconds, probe) {
  for (const stop = Date.now() + seconds * 1000; Date.now() < stop; await sleep(200)) {
    const value = await (async () => probe())().catch(() => undefined);
    if (value) return value;
  }
  throw new Error(`waited ${seconds} s for: ${what}`);
}

/** What somebody might send to break a page: each of it delivered three times and never acknowledged, among good ones that were. */
const BODIES = {
  script: (n) => `{"id": ${n}, "<img src=x onerror=alert(1)>": <script>alert(1)</script>`,
  bidi: (n) => `{"id": ${n}, "note\u202e\u2066": gpj.exe\u202e\u200b}`,
  control: (n) => `{"id": ${n}, "title": "\u0000\u0007\u001b[2J\u001b]0;owned\u0007 \r\n"`,
  megabyte: (n) => `{"id": ${n}, "blob": "${'A'.repeat(1 << 20)}`,
  deep: (n) => `{"id": ${n}, "deep": ${'['.repeat(10_000)}${']'.repeat(10_000)}}`,
};
async function spoil(redis) {
  await redis.del(HOSTILE);
  const group = '<b>group</b>\u200b', ids = [];
  for (let n = 0; n < 1_000; n += 1) {
    const kinds = Object.values(BODIES), bad = n % 4 === 0 && n < 4 * 25 * kinds.length ? kinds[(n / 4) % kinds.length] : null;
    ids.push([await redis.call('XADD', HOSTILE, '*', 'body', bad ? bad(n) : `{"id": ${n}, "note": "fine"}`), bad !== null]);
  }
  await redis.call('XGROUP', 'CREATE', HOSTILE, group, '0');
  await redis.call('XREADGROUP', 'GROUP', group, 'c<i>', 'COUNT', '2000', 'STREAMS', HOSTILE, '>');
  for (const [id, bad] of ids) await (bad ? redis.call('XCLAIM', HOSTILE, group, 'c<i>', '0', id, 'RETRYCOUNT', '3', 'JUSTID') : redis.call('XACK', HOSTILE, group, id));
  redis.disconnect();
}

/** The incident of the demo, small: an agent that proposes, on a Redis with consumers that choke. */
export async function stage() {
  const redisPort = await freePort();
  const url = `redis://127.0.0.1:${redisPort}`;
  start('redis-server', ['--port', redisPort, '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--dir', dir]);
  const cli = (...args) => execFileSync('redis-cli', ['-p', redisPort, ...args], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  await until('redis', 10, () => cli('ping').includes('PONG'));
  const node = (...args) => execFileSync('node', args, { cwd: join(root, 'demo'), encoding: 'utf8' });
  const staged = JSON.parse(node('incident.mjs', 'generate', '--url', url, '--messages', MESSAGES, '--seed', 7, '--truth', join(dir, 'truth.json')));
  node('consumer.mjs', '--url', url, '--fleet', '--warmup');
  start('node', ['consumer.mjs', '--url', url, '--fleet', '--processed', join(dir, 'processed.json'), '--log', join(dir, 'consumers.log')], { cwd: join(root, 'demo') });
  const Redis = createRequire(join(root, 'demo/package.json'))('ioredis');
  await spoil(new Redis(url));
  const port = await freePort();
  const config = readFileSync(join(root, 'demo/deployclaw.yaml'), 'utf8').replace(/^.*(sqs|rabbit).*\n/gm, '')
    .replaceAll('@REDIS_URL@', `${url}/0`).replaceAll('@DATA_DIR@', join(dir, 'agent')).replaceAll('@LISTEN@', `127.0.0.1:${port}`)
    .replaceAll('@MAX_BACKLOG@', String(Math.floor((192_000 * MESSAGES) / 847_293))).replace('autonomy: act', 'autonomy: propose')
    .replace('\nprofiles:', '\n  hostile:\n    like: quiet\n    queues:\n      - {broker: redis-eu, match: "hostile:*"}\n\nprofiles:');
  writeFileSync(join(dir, 'deployclaw.yaml'), config);
  const agent = start(deployclaw, ['serve', '--config', join(dir, 'deployclaw.yaml')]);
  const base = `http://127.0.0.1:${port}`;
  await until(`the agent at ${base}`, 30, async () => (await fetch(`${base}/readyz`)).ok).catch((e) => { throw new Error(`${e.message}\n${agent.text}`); });
  return { base, port, poison: staged.poison, claw: (...args) => execFileSync(deployclaw, [...args, '--config', join(dir, 'deployclaw.yaml')], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }) };
}

export const open = (name = 'chromium') => chromium.launchPersistentContext(join(dir, name), {
  executablePath: '/usr/bin/chromium', headless: true, viewport: { width: 1440, height: 900 },
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});

/** What a page shows when a test fails: as a picture, and in words for whoever has the log alone. */
export async function shown(page, name) {
  await page.screenshot({ path: join(shots, `${name}.png`) }).catch(() => {});
  say(`        ${page.url()}, focus on ${await page.evaluate(() => document.activeElement?.outerHTML.slice(0, 200)).catch(() => 'nothing')}`);
  say((await page.locator('body').innerText().catch(() => '')).slice(0, 2_000));
}

/** Runs a test's body, ends what it began, says how it went and leaves. */
export async function run(name, body) {
  const began = Date.now();
  try {
    await body();
  } catch (error) {
    failures.push(error.message);
    say(`  FAIL  ${error.stack}`);
    for (const child of children) if (child.spawnfile.includes('deployclaw')) say(child.text.slice(-3_000));
  } finally {
    await end();
  }
  say(`${name}: ${failures.length === 0 ? 'all as it should be' : `${failures.length} failures`}, ${Math.round((Date.now() - began) / 1000)} s`);
  process.exit(failures.length === 0 ? 0 : 1);
}
