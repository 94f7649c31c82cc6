import { cleanup, render, screen } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { dur, Foreign } from '../src/ui/bits';
import { Confirm } from '../src/ui/Confirm';
import { hold } from './contract.mjs';

afterEach(cleanup);

describe('Confirm', () => {
  it('stays shut for a prefix, another case or a trailing space, and opens for the exact phrase', async () => {
    const confirmed = vi.fn();
    const user = userEvent.setup();
    render(<Confirm trigger="Apply" title="Apply plan" phrase="apply 1a2b" action="Go" onConfirm={confirmed}>what</Confirm>);
    await user.click(screen.getByRole('button', { name: 'Apply' }));
    const field = await screen.findByRole('textbox');
    const go = screen.getByRole<HTMLButtonElement>('button', { name: 'Go' });
    for (const wrong of ['apply 1a2', 'Apply 1a2b', 'apply 1a2b ']) {
      await user.clear(field);
      await user.type(field, wrong);
      expect(go.disabled).toBe(true);
      await user.keyboard('{Enter}');
    }
    expect(confirmed).not.toHaveBeenCalled();
    await user.clear(field);
    await user.type(field, 'apply 1a2b');
    await user.click(go);
    expect(confirmed).toHaveBeenCalledExactlyOnceWith('apply 1a2b');
  });
});

describe('Foreign', () => {
  it('shows markup as text and invisible characters as tokens, and cuts what is long', () => {
    const { container } = render(<Foreign text={`<img src=x onerror=alert(1)>\u202e\u0000${'x'.repeat(10_000)}`} />);
    expect(container.querySelectorAll('img, script, a')).toHaveLength(0);
    expect(container.textContent).toContain('<img src=x');
    expect(container.textContent).toContain('U+202E');
    expect(container.textContent).not.toMatch(/[\u202e\u0000]/);
    expect(container.textContent!.length).toBeLessThan(4_200);
  });
});

describe('dur', () => {
  it('gives two units at most', () => {
    expect([dur(null), dur(156), dur(42_000), dur(514_000), dur(6_120_000), dur(97_200_000)]).toEqual(['–', '156ms', '42s', '8m 34s', '1h 42m', '1d 3h']);
  });
});

describe('the contract check', () => {
  it('finds a missing member, a foreign one and a wrong type', () => {
    const spec = { components: { schemas: { A: { type: 'object', additionalProperties: false, required: ['n'], properties: { n: { type: 'integer' } } } } } };
    const errors = (value: unknown) => { const e: string[] = []; hold(value, { $ref: '#/components/schemas/A' }, spec, 'a', e); return e; };
    expect(errors({ n: 1 })).toEqual([]);
    for (const wrong of [{}, { n: 1, m: 2 }, { n: 'x' }, []]) expect(errors(wrong)).not.toEqual([]);
  });
});
