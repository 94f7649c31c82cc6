// One incident as an on-call engineer lives it, in headless Chromium on a real agent and a real Redis: breach, finding,
// plan, approval, live drain, audit proof, rollback. On the way every page is looked at in both themes by axe, every
// answer of the API is held against openapi.yaml, and no page may break the CSP, call out or throw.
//   DEPLOYCLAW=path node web/test/journey.mjs     screenshots: build/web-shots
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { request } from 'node:http';
import { join } from 'node:path';
import { contract } from './contract.mjs';
import { expect, open, root, run, say, shots, shown, stage, until } from './world.mjs';

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
  const browser = await open();
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

    say('tokens');
    await visit('/access', '#token-name');
    await look(page, 'access-empty');
    await page.fill('#token-name', 'grafana');
    await page.fill('#token-tenants', 'tenant_42');
    await page.getByRole('button', { name: 'Make the token' }).click();
    const secret = (await page.locator('.secret').innerText()).trim();
    await look(page, 'access');
    const held = async (path) => (await fetch(base + path, { headers: { authorization: `Bearer ${secret}` } })).status;
    expect('the token opens what it is for, and nothing else', (await held('/api/v1/tenants/tenant_42')) === 200 && (await held('/api/v1/tenants/hostile')) === 404 && (await held('/api/v1/audit/head')) === 403);
    await page.getByRole('button', { name: 'Revoke grafana' }).click();
    await page.waitForSelector('.list td:has-text("revoked")');
    expect('a revoked token opens nothing', (await held('/api/v1/tenants/tenant_42')) === 401);
    await visit(`/queues/redis-eu/${encodeURIComponent('orders:tenant_42')}`, '.uplot');
    await look(page, 'queue');
    await visit('/tenants/hostile', '.list td');
    await page.locator('.list td a').first().click();
    await page.waitForSelector('h1:has-text("hostile:")');
    const shown = await page.evaluate(() => ({ made: document.querySelectorAll('main img, main script, main b > b').length, text: document.querySelector('main').textContent }));
    expect('hostile names are text', shown.made === 0 && shown.text.includes('<img src=x') && !/[\u202e\u0007\u200b]/.test(shown.text));
    await look(page, 'hostile');
    const json = { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"tenant":"hostile"}' };
    const { id: scan } = await (await fetch(`${base}/api/v1/scans`, json)).json();
    await until('the scan of hostile bodies', 60, async () => (await (await fetch(`${base}/api/v1/operations/${scan}`)).json()).state === 'done');
    const { findings } = await (await fetch(`${base}/api/v1/findings?tenant=hostile`)).json();
    expect(`hostile bodies are found: ${findings.map((f) => f.signature).join('; ')}`, findings.length >= 2 && findings.some((f) => f.signature === 'JSON nested deeper than 64 in deep field'));
    for (const f of findings) {
      await visit(`/findings/${encodeURIComponent(f.finding_id)}`, '.ev li');
      const body = await page.evaluate(() => ({ made: document.querySelectorAll('main img, main script, main iframe').length, text: document.querySelector('main').textContent, wide: document.documentElement.scrollWidth > innerWidth }));
      expect(`a hostile body is text: ${f.signature}`, body.made === 0 && !body.wide && body.text.length < 20_000 && !/[\u0000-\u0008\u000b-\u001f\u200b-\u200f\u202a-\u202e\u2066-\u2069]/.test(body.text));
    }
    await look(page, 'hostile-finding');

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
    await shown(page, 'failed');
    throw error;
  } finally {
    await browser.close();
  }
  expect('no CSP violation and no error in a page', broken.length === 0, broken.join('; '));
  expect('no request leaves the agent', foreign.length === 0, foreign.join(' '));
}

await run('dashboard', async () => {
  const world = await stage();
  await gates(world);
  await browse(world);
  const wrong = await contract(world.base, join(root, 'src/api/openapi.yaml'));
  expect(`answers are as openapi.yaml says (${wrong.checked} checked)`, wrong.errors.length === 0 && wrong.checked > 15, wrong.errors.join('; '));
  expect('the agent answers the CLI as before', world.claw('topology', '-o', 'json').includes('tenant_42'));
});
