// The incident once more, by keyboard alone: after the first page nothing is clicked, filled or gone to; every step is a key.
import { expect, open, run, say, shown, stage } from './world.mjs';

const MOST_TABS = 250;

await run('keyboard', async () => {
  const { base, poison, claw } = await stage();
  const browser = await open();
  const page = browser.pages()[0] ?? (await browser.newPage());
  page.setDefaultTimeout(30_000);
  let keys = 0;
  const press = async (key) => { keys += 1; await page.keyboard.press(key); };
  /** Tab until what has the focus is the one; its ring must be visible. */
  const to = async (selector) => {
    for (let i = 0; i < MOST_TABS; i += 1) {
      const found = await page.evaluate((s) => { const e = document.activeElement; return e?.matches(s) ? { outlined: getComputedStyle(e).outlineStyle !== 'none' || getComputedStyle(e).boxShadow !== 'none' } : null; }, selector);
      if (found) return expect(`the focus is seen on ${selector}`, found.outlined);
      await press('Tab');
    }
    throw new Error(`no Tab leads to ${selector}`);
  };
  const go = async (letter, title) => { await press('g'); await press(letter); await page.waitForSelector(`h1:has-text("${title}")`); };
  /** Types the phrase a dialog asks for. Its field takes the focus a moment after it is there: nobody types before. */
  const confirm = async (phrase) => {
    await page.waitForSelector('.dialog input:focus');
    await page.keyboard.type(phrase);
    await page.waitForSelector('.dialog button[type=submit]:not(:disabled)');
    await press('Enter');
  };
  const badge = (text, timeout = 60_000) => page.waitForSelector(`.head .badge:has-text("${text}")`, { timeout });

  try {
    await page.goto(base);
    await page.waitForSelector('tr.row:has-text("tenant_42")');
    say('breach');
    await press('Tab');
    expect('the first Tab is the way past the menu', await page.evaluate(() => document.activeElement?.textContent === 'Skip to the page'));
    await to('#scroller');
    await press('j');
    await press('k');
    await press('Enter');
    await page.waitForSelector('h1:has-text("tenant_42")');
    await page.waitForSelector('a[href^="/plans/"]', { timeout: 120_000 });

    say('review and approval');
    await go('l', 'Plans');
    await to('.list td a');
    await press('Enter');
    await page.waitForSelector('#reason');
    const id = (await page.locator('h1 .mono').innerText()).trim();
    await to('#reason');
    await page.keyboard.type('INC-2041, by keyboard');
    await to('button:not(:disabled)[type=submit], button.primary:not(:disabled)');
    expect('the button says what it does', (await page.evaluate(() => document.activeElement.textContent)).includes('Approve'));
    await press('Enter');
    await badge('approved');
    await to('button.danger');
    await press('Enter');
    await page.waitForSelector('.dialog');
    expect('the dialog takes the focus', await page.waitForSelector('.dialog input:focus').then(() => true, () => false));
    await press('Escape');
    await page.waitForSelector('.dialog', { state: 'detached' });
    expect('Escape gives it back to where it was', await page.evaluate(() => document.activeElement?.matches('button.danger') ?? false));
    await press('Enter');
    await confirm(`apply ${id}`);

    say('live drain and recovery');
    await page.waitForSelector('.rail li[data-s=complete]:has-text("drain")', { timeout: 120_000 });
    await badge('completed');
    const record = (await (await fetch(`${base}/api/v1/executions`)).json()).executions[0];
    expect(`it removed the ${poison} poison messages`, record.remediation_record.messages_removed === poison, JSON.stringify(record.remediation_record));

    say('audit proof');
    await go('a', 'Audit log');
    await page.waitForSelector('.list td');
    await to('.list td a[href*="entry="]');
    await press('Enter');
    await page.waitForSelector('text=verified in this browser');

    say('rollback');
    await go('r', 'Runs');
    await page.waitForSelector('.list td a');
    await to(`.list td a[href*="${record.execution_id}"]`);
    await press('Enter');
    await page.waitForSelector('.rail li');
    await to('button.danger');
    await press('Enter');
    await confirm(`roll back ${record.remediation_record.rollback_key}`);
    await page.waitForSelector('text=messages restored', { timeout: 60_000 });
    const after = await (await fetch(`${base}/api/v1/executions/${record.execution_id}`)).json();
    expect('the execution is rolled back', after.state === 'rolled_back', after.state);
    expect('audit verify agrees', claw('audit', 'verify').startsWith('ok'));

    say('brake');
    await to('button.stop');
    await press('Space');
    await page.waitForSelector('.banner:has-text("brake is on")');
    expect('the CLI sees the brake', claw('brake', 'status').includes('is on'));
    say(`        ${keys} keys beside the words that were typed`);
  } catch (error) {
    await shown(page, 'keyboard-failed');
    throw error;
  } finally {
    await browser.close();
  }
});
