import { AlertDialog } from '@base-ui/react/alert-dialog';
import { ShieldAlert } from 'lucide-react';
import { type ReactNode, useId, useRef, useState } from 'react';

/** Asks for an exact phrase that names what will be touched. The server asks for it again: this dialog is not the gate. */
export function Confirm({ trigger, title, phrase, action, busy, onConfirm, children }: { trigger: ReactNode; title: string; phrase: string; action: string; busy?: boolean; onConfirm: (typed: string) => void; children: ReactNode }) {
  const [typed, setTyped] = useState('');
  const [open, setOpen] = useState(false);
  const field = useRef<HTMLInputElement>(null);
  const id = useId();
  const exact = typed === phrase;
  return (
    <AlertDialog.Root open={open} onOpenChange={(next) => { setOpen(next); setTyped(''); }}>
      <AlertDialog.Trigger className="btn danger" disabled={busy ?? false}>{trigger}</AlertDialog.Trigger>
      <AlertDialog.Portal>
        <AlertDialog.Backdrop className="backdrop" />
        <AlertDialog.Popup className="dialog" initialFocus={field}>
          <AlertDialog.Title className="hd">{title}</AlertDialog.Title>
          <form onSubmit={(e) => { e.preventDefault(); if (!exact) return; setOpen(false); onConfirm(typed); }}>
            <div className="bd">
              {children}
              <label htmlFor={id}>Type <b className="mono">{phrase}</b> to confirm</label>
              <input ref={field} id={id} className="in mono" autoComplete="off" spellCheck={false} value={typed} onChange={(e) => setTyped(e.target.value)} aria-describedby={`${id}d`} />
              <span id={`${id}d`} className="dim">{exact ? 'Matches. The agent checks the phrase and the plan once more.' : 'Does not match yet.'}</span>
            </div>
            <div className="ft">
              <AlertDialog.Close className="btn">Cancel</AlertDialog.Close>
              <button type="submit" className="btn danger" disabled={!exact}><ShieldAlert size={14} aria-hidden />{action}</button>
            </div>
          </form>
        </AlertDialog.Popup>
      </AlertDialog.Portal>
    </AlertDialog.Root>
  );
}
