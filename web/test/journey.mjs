// One incident as an on-call engineer lives it, in headless Chromium on a real agent and a real Redis: breach, finding,
// plan, approval, live drain, audit proof, rollback. On the way every page is looked at in both themes by axe, every
// answer of the API is held against openapi.yaml, and no page may break the CSP, call out or throw.
//   DEPLOYCLAW=path node web/test/journey.mjs     screenshots: build/web-shots
import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { createServer } from 'node:net';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { chromium } from 'playwright-core';
import { contract } from './contract.mjs';

const root = resolve(import.meta.dirname, '../..');
const deployclaw = process.env.DEPLOYCLAW ?? join(root, 'build/release/deployclaw');
const MESSAGES = 20_000;
const HOSTILE = 'hostile:<img src=x onerror=alert(1)>\u202e\u0007"';
const dir = mkdtempSync(join(tmpdir(), 'claw-web-'));
const shots = join(root, 'build/web-shots');
mkdirSync(shots, { recursive: true });

const children = [];
const failures = [];
const say = (text) => console.log(text);
function expect(what, ok, detail = '') {
  if (ok) return say(`  ok    ${what}`);
  failures.push(what);
  say(`  FAIL  ${what}  ${detail}`);
}

const freePort = () => new Promise((done) => { const s = createServer().listen(0, '127.0.0.1', () => { const { port } = s.address(); s.close(() => done(port)); }); });
function start(command, args, options = {}) {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], ...options });
  child.text = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (b) => (child.text = (child.text + b).slice(-20_000)));
  children.push(child);
  return child;
}
async function end() {
  for (const child of children.reverse()) {
    if (child.exitCode !== null) continue;
    const gone = new Promise((done) => child.once('exit', done));
    child.kill('SIGTERM');
    await Promise.race([gone, sleep(8_000)]);
    child.kill('SIGKILL');
  }
  rmSync(dir, { recursive: true, force: true });
}
async function until(what, seconds, probe) {
  for (const stop = Date.now() + seconds * 1000; Date.now() < stop; await sleep(200)) {
    const value = await (async () => probe())().catch(() => undefined);
    if (value) return value;
  }
  throw new Error(`waited ${seconds} s for: ${what}`);
}

async function stage() {
  const redisPort = await freePort();
  const url = `redis://127.0.0.1:${redisPort}`;
  start('redis-server', ['--port', redisPort, '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--dir', dir]);
  const cli = (...args) => execFileSync('redis-cli', ['-p', redisPort, ...args], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  await until('redis', 10, () => cli('ping').includes('PONG'));
  const node = (...args) => execFileSync('node', args, { cwd: join(root, 'demo'), encoding: 'utf8' });
  const staged = JSON.parse(node('incident.mjs', 'generate', '--url', url, '--messages', MESSAGES, '--seed', 7, '--truth', join(dir, 'truth.json')));
  node('consumer.mjs', '--url', url, '--fleet', '--warmup');
  start('node', ['consumer.mjs', '--url', url, '--fleet', '--processed', join(dir, 'processed.json'), '--log', join(dir, 'consumers.log')], { cwd: join(root, 'demo') });
  cli('XADD', HOSTILE, '*', 'body', '{"a": "<script>alert(1)</script>\u202e"}');
  cli('XGROUP', 'CREATE', HOSTILE, '<b>group</b>\u200b', '0');
  const port = await freePort();
  const config = readFileSync(join(root, 'demo/deployclaw.yaml'), 'utf8').replace(/^.*sqs.*\n/gm, '')
    .replaceAll('@REDIS_URL@', `${url}/0`).replaceAll('@DATA_DIR@', join(dir, 'agent')).replaceAll('@LISTEN@', `127.0.0.1:${port}`)
    .replaceAll('@MAX_BACKLOG@', String(Math.floor((192_000 * MESSAGES) / 847_293))).replace('autonomy: act', 'autonomy: propose')
    .replace('\nprofiles:', '\n  hostile:\n    like: quiet\n    queues:\n      - {broker: redis-eu, match: "hostile:*"}\n\nprofiles:');
  writeFileSync(join(dir, 'deployclaw.yaml'), config);
  const agent = start(deployclaw, ['serve', '--config', join(dir, 'deployclaw.yaml')]);
  const base = `http://127.0.0.1:${port}`;
  await until(`the agent at ${base}`, 30, async () => (await fetch(`${base}/readyz`)).ok).catch((e) => { throw new Error(`${e.message}\n${agent.text}`); });
  return { base, port, poison: staged.poison, claw: (...args) => execFileSync(deployclaw, [...args, '--config', join(dir, 'deployclaw.yaml')], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }) };
}

const raw = (port, headers, path = '/api/v1/status', method = 'GET', body = '') => new Promise((done, fail) => {
  const r = request({ host: '127.0.0.1', port, path, method, headers: { ...headers, ...(body ? { 'content-length': Buffer.byteLength(body) } : {}) } }, (res) => { res.resume(); res.on('end', () => done(res.statusCode)); });
  r.on('error', fail);
  r.end(body);
});

async function gates({ base, port }) {
  say('gates');
  const host = `127.0.0.1:${port}`;
  expect('a foreign Host gets 421', (await raw(port, { host: 'evil.example' })) === 421);
  expect('a foreign Origin is refused', (await raw(port, { host, origin: 'http://evil.example', 'content-type': 'application/json' }, '/api/v1/brake', 'POST', '{"on":true}')) === 403);
  expect('another site is refused', (await raw(port, { host, 'sec-fetch-site': 'cross-site' })) === 403);
  expect('a form is refused', (await raw(port, { host, 'content-type': 'text/plain' }, '/api/v1/brake', 'POST', '{"on":true}')) === 415);
  expect('a body above 1 MiB is refused', (await raw(port, { host, 'content-type': 'application/json', 'content-length': 2 ** 21 }, '/api/v1/scans', 'POST')) === 413);
  expect('an unknown path under /api is 404', (await fetch(`${base}/api/v1/nothing`)).status === 404);
  expect('apply without If-Match is refused', [404, 428].includes((await fetch(`${base}/api/v1/plans/0123456789ab/apply`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"phrase":"x"}' })).status));
  const key = { 'content-type': 'application/json', 'idempotency-key': 'once' };
  const twice = await Promise.all([1, 2].map(async () => (await fetch(`${base}/api/v1/analyses`, { method: 'POST', headers: key, body: '{}' })).json()));
  expect('one Idempotency-Key makes one operation', twice[0].id === twice[1].id, JSON.stringify(twice));
  const other = await fetch(`${base}/api/v1/topologies`, { method: 'POST', headers: key, body: '{}' });
  expect('the same key for another wish is refused', other.status === 409, String(other.status));
}

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
async function look(page, name) {
  for (const theme of ['light', 'dark']) {
    await page.evaluate((t) => { document.documentElement.dataset.theme = t; }, theme);
    await page.screenshot({ path: join(shots, `${name}-${theme}.png`) });
    await page.evaluate(axe);
    const found = await page.evaluate(() => window.axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }));
    expect(`axe: ${name}, ${theme}`, found.violations.length === 0, found.violations.map((v) => `${v.id}: ${v.nodes.map((n) => n.target).join(' ')}`).join('; '));
  }
}

async function browse({ base, claw, poison }) {
  const browser = await chromium.launchPersistentContext(join(dir, 'chromium'), {
    executablePath: '/usr/bin/chromium', headless: true, viewport: { width: 1440, height: 900 },
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
  });
  const broken = [];
  const foreign = [];
  await browser.addInitScript(() => { window.cspBroken = []; document.addEventListener('securitypolicyviolation', (e) => window.cspBroken.push(`${e.effectiveDirective} ${e.blockedURI} ${e.sample}`)); });
  const page = browser.pages()[0] ?? (await browser.newPage());
  page.setDefaultTimeout(30_000);
  page.on('pageerror', (e) => broken.push(String(e)));
  page.on('request', (r) => { if (!r.url().startsWith(base)) foreign.push(r.url()); });
  const csp = async () => broken.push(...(await page.evaluate(() => window.cspBroken)));
  const visit = async (path, ready) => { await csp().catch(() => {}); await page.goto(base + path); await page.waitForSelector(ready); };

  try {
    say('breach');
    const opened = Date.now();
    await page.goto(base);
    await page.waitForSelector('tr.row');
    say(`        first rows after ${Date.now() - opened} ms`);
    expect('tenant_42 stands first, in breach', (await page.locator('tr.row').first().innerText()).includes('tenant_42') && (await page.locator('tr.row').first().innerText()).includes('SLA breach'));
    await look(page, 'fleet');
    await page.focus('#scroller');
    await page.keyboard.press('Enter');
    await page.waitForSelector('h1:has-text("tenant_42")');
    await page.waitForSelector('a[href^="/plans/"]', { timeout: 120_000 });
    await look(page, 'tenant');

    say('finding');
    await page.locator('a[href^="/findings/"]').first().click();
    await page.waitForSelector('.ev li');
    await look(page, 'finding');
    await visit('/findings', '.list td');
    await look(page, 'findings');

    say('plan');
    await page.keyboard.press('g');
    await page.keyboard.press('l');
    await page.waitForSelector('h1:has-text("Plans")');
    await look(page, 'plans');
    await page.locator('.list td a').first().click();
    await page.waitForSelector('#reason');
    const id = (await page.locator('h1 .mono').innerText()).trim();
    await page.fill('#reason', 'INC-2041, the payload of transaction_id is cut off');
    await page.getByRole('button', { name: 'Approve' }).click();
    await page.waitForSelector('.head .badge:has-text("approved")');
    await look(page, 'plan');
    await page.getByRole('button', { name: 'Review and apply' }).click();
    const field = page.locator('.dialog input');
    await field.waitFor();
    expect('the phrase has the focus', await field.evaluate((e) => e === document.activeElement));
    const go = page.locator('.dialog button[type=submit]');
    await field.fill(`apply ${id.slice(0, -1)}`);
    expect('a part of the phrase is not enough', await go.isDisabled());
    await field.fill(`apply ${id}`);
    await look(page, 'confirm');

    say('drain');
    await page.keyboard.press('Enter');
    await page.waitForSelector('.rail li');
    await page.screenshot({ path: join(shots, 'run-live.png') });
    await page.waitForSelector('.rail li[data-s=complete]:has-text("drain")', { timeout: 120_000 });
    await page.waitForSelector('.head .badge:has-text("completed")', { timeout: 60_000 });
    const runs = await (await fetch(`${base}/api/v1/executions`)).json();
    const run = runs.executions[0];
    expect(`it removed the ${poison} messages that the hidden truth calls poison`, run.remediation_record.messages_removed === poison, JSON.stringify(run.remediation_record));
    await look(page, 'run');
    await visit('/runs', '.list td');
    await look(page, 'runs');

    say('audit proof');
    await visit('/audit', '.list td');
    await page.locator('tr:has-text("close") a:has-text("Check entry")').first().click();
    await page.waitForSelector('text=verified in this browser');
    await look(page, 'audit');
    expect('audit verify agrees', claw('audit', 'verify').startsWith('ok'));

    say('other pages');
    await visit('/snapshots', '.list td');
    await look(page, 'snapshots');
    await visit('/topology', '.list td');
    await look(page, 'topology');
    await visit('/skills', '.panel');
    await look(page, 'skills');
    await visit(`/queues/redis-eu/${encodeURIComponent('orders:tenant_42')}`, '.uplot');
    await look(page, 'queue');
    await visit('/tenants/hostile', '.list td');
    await page.locator('.list td a').first().click();
    await page.waitForSelector('h1:has-text("hostile:")');
    const shown = await page.evaluate(() => ({ made: document.querySelectorAll('main img, main script, main b > b').length, text: document.querySelector('main').textContent }));
    expect('hostile names are text', shown.made === 0 && shown.text.includes('<img src=x') && !/[\u202e\u0007\u200b]/.test(shown.text));
    await look(page, 'hostile');

    say('brake');
    await page.getByRole('button', { name: 'Brake', exact: true }).click();
    await page.waitForSelector('.banner:has-text("brake is on")');
    expect('the CLI sees the brake', claw('brake', 'status').includes('is on'));
    await page.getByRole('button', { name: 'Release brake' }).click();
    await page.waitForSelector('.banner', { state: 'detached' });

    say('rollback');
    await visit(`/runs/${run.execution_id}`, '.rail li');
    await page.getByRole('button', { name: 'Roll back' }).click();
    await page.fill('.dialog input', `roll back ${run.remediation_record.rollback_key}`);
    await page.keyboard.press('Enter');
    await page.waitForSelector('text=messages restored', { timeout: 60_000 });
    await look(page, 'rollback');
    const after = await (await fetch(`${base}/api/v1/executions/${run.execution_id}`)).json();
    expect('the execution is rolled back', after.state === 'rolled_back', after.state);
    expect('audit verify still agrees', claw('audit', 'verify').startsWith('ok'));

    say('a narrow screen');
    await page.setViewportSize({ width: 390, height: 844 });
    for (const [path, ready, name] of [['/', 'tr.row', 'fleet'], [`/plans/${id}`, '.facts', 'plan'], [`/runs/${run.execution_id}`, '.rail li', 'run'], ['/audit', '.list td', 'audit']]) {
      await visit(path, ready);
      expect(`no sideways scrolling at 390 px: ${name}`, await page.evaluate(() => document.documentElement.scrollWidth <= 390 && document.querySelector('main').scrollWidth <= document.querySelector('main').clientWidth));
      await look(page, `narrow-${name}`);
    }
    await csp();
  } catch (error) {
    await page.screenshot({ path: join(shots, 'failed.png') }).catch(() => {});
    throw error;
  } finally {
    await browser.close();
  }
  expect('no CSP violation and no error in a page', broken.length === 0, broken.join('; '));
  expect('no request leaves the agent', foreign.length === 0, foreign.join(' '));
}

const began = Date.now();
try {
  const world = await stage();
  await gates(world);
  await browse(world);
  const wrong = await contract(world.base, join(root, 'src/api/openapi.yaml'));
  expect(`answers are as openapi.yaml says (${wrong.checked} checked)`, wrong.errors.length === 0 && wrong.checked > 15, wrong.errors.join('; '));
  expect('the agent answers the CLI as before', world.claw('topology', '-o', 'json').includes('tenant_42'));
} catch (error) {
  failures.push(error.message);
  say(`  FAIL  ${error.stack}`);
  for (const child of children) if (child.spawnfile.includes('deployclaw')) say(child.text.slice(-3_000));
} finally {
  await end();
}
say(`dashboard: ${failures.length === 0 ? 'all as it should be' : `${failures.length} failures`}, ${Math.round((Date.now() - began) / 1000)} s; screenshots in build/web-shots`);
process.exit(failures.length === 0 ? 0 : 1);
