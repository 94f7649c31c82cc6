import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { api, must, once } from '../api/client';
import { Foreign, Loading, Page, Panel } from '../ui/bits';

const SCOPES = [
  ['observe', 'see tenants, queues, findings, plans, executions'], ['plan', 'look at messages and make plans'], ['approve', 'approve or reject plans, label findings'],
  ['apply', 'carry out plans'], ['restore', 'roll back'],
] as const;
const LIVES = [['1 day', 86_400], ['30 days', 30 * 86_400], ['a year', 365 * 86_400]] as const;

/** Keys for others than the agent's own user. A secret is shown once, here, and is kept nowhere. */
export default function Access() {
  const client = useQueryClient();
  const again = () => client.invalidateQueries({ queryKey: ['tokens'] });
  const { data, error } = useQuery({ queryKey: ['tokens'], queryFn: () => must(api.GET('/api/v1/tokens')) });
  const [name, setName] = useState('');
  const [tenants, setTenants] = useState('');
  const [life, setLife] = useState<number>(LIVES[1][1]);
  const [scopes, setScopes] = useState<Record<string, boolean>>({ observe: true });
  const make = useMutation({
    mutationFn: () => must(api.POST('/api/v1/tokens', {
      params: { header: once() },
      body: { name: name.trim(), scopes: SCOPES.map(([s]) => s).filter((s) => scopes[s]), life_s: life, ...(tenants.trim() ? { tenants: tenants.split(/[\s,]+/).filter(Boolean) } : {}) },
    })),
    onSuccess: () => { setName(''); setTenants(''); },
    onSettled: again,
  });
  const revoke = useMutation({ mutationFn: (token: string) => must(api.POST('/api/v1/tokens/{token}/revoke', { params: { path: { token }, header: once() }, body: {} })), onSettled: again });
  if (!data) return <Loading error={error} />;
  const state = (t: { revoked: boolean; expires: string }) => (t.revoked ? 'revoked' : t.expires <= data.now ? 'expired' : 'good');
  return (
    <Page title="Access" sub="tokens of the API for programs and people who are not the agent's own user">
      <Panel title="A new token">
        <form className="pad2 form" onSubmit={(e) => { e.preventDefault(); make.mutate(); }}>
          <label htmlFor="token-name">Name, as the audit log will say it</label>
          <input id="token-name" className="in" required maxLength={64} pattern="[A-Za-z0-9._\-]+" autoComplete="off" value={name} onChange={(e) => setName(e.target.value)} />
          <fieldset><legend>It may</legend>{SCOPES.map(([scope, words]) => (
            <label key={scope} className="check"><input type="checkbox" checked={scope === 'observe' || (scopes[scope] ?? false)} disabled={scope === 'observe'} onChange={(e) => setScopes({ ...scopes, [scope]: e.target.checked })} /> <b>{scope}</b> <span className="dim">{words}</span></label>
          ))}</fieldset>
          <label htmlFor="token-tenants">Tenants, with blanks between them; none means all</label>
          <input id="token-tenants" className="in mono" autoComplete="off" value={tenants} onChange={(e) => setTenants(e.target.value)} />
          <label htmlFor="token-life">For</label>
          <select id="token-life" className="in" value={life} onChange={(e) => setLife(Number(e.target.value))}>{LIVES.map(([words, s]) => <option key={s} value={s}>{words}</option>)}</select>
          <p><button type="submit" className="btn primary" disabled={make.isPending}>Make the token</button></p>
          {make.error && <div role="alert" className="alert breach">{make.error.message}</div>}
          {make.data && <div role="status" className="alert ok"><p>Copy it now: it is shown this once. Send it as <code>Authorization: Bearer …</code></p><code className="secret mono">{make.data.secret}</code></div>}
        </form>
      </Panel>
      <Panel title="Tokens">
        {data.tokens.length === 0 ? <p className="pad2 dim">None yet. The agent's own user and root need none.</p> : (
          <table className="list"><thead><tr><th>Name</th><th>May</th><th>Tenants</th><th>Made by</th><th>Expires</th><th>State</th><th><span className="sr">Revoke</span></th></tr></thead>
            <tbody>{data.tokens.map((t) => (
              <tr key={t.id}><td><Foreign text={t.name} /></td><td>{t.scopes.join(', ')}</td><td className="mono">{t.tenants ? t.tenants.join(' ') : 'all'}</td><td>{t.creator}</td><td className="mono">{t.expires}</td>
                <td><span className={`badge ${state(t) === 'good' ? 'ok' : 'unknown'}`}>{state(t)}</span></td>
                <td>{state(t) === 'good' && <button type="button" className="btn" disabled={revoke.isPending} onClick={() => revoke.mutate(t.id)} aria-label={`Revoke ${t.name}`}>Revoke</button>}</td></tr>
            ))}</tbody></table>
        )}
        {revoke.error && <div role="alert" className="alert breach">{revoke.error.message}</div>}
      </Panel>
    </Page>
  );
}
