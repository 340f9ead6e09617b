/**
 * Aim: while a gate is closed questions wait, those under way are answered first, and a change that
 * fails opens it again. Method: questions and changes that end when the test says so.
 */
import { describe, expect, it } from 'vitest';
import { HoldfastError } from '../../base/index.ts';
import { Gate, gated } from './gate.ts';

interface Api extends AsyncDisposable {
  ask(text: string): Promise<string>;
}

function apiOf(name: string): Api {
  return {
    ask: async (text) => `${name}: ${text}`,
    async [Symbol.asyncDispose]() {},
  };
}

describe('a gate', () => {
  it('lets what is under way end, and what comes wait for what is there then', async () => {
    const gate = new Gate();
    const slow = Promise.withResolvers<string>();
    let now = { ...apiOf('old'), ask: () => slow.promise };
    const api = gated<Api>(gate, now, () => now);
    const before = api.ask('a');
    const steps: string[] = [];
    const change = gate.closedFor(async () => {
      steps.push('change');
      now = { ...apiOf('new'), ask: async () => 'new' };
    });
    const during = api.ask('b').then((answer) => steps.push(answer));
    await Promise.resolve();
    expect(steps).toEqual([]);
    slow.resolve('old');
    expect(await before).toBe('old');
    await change;
    await during;
    expect(steps).toEqual(['change', 'new']);
  });

  it('opens again when the change fails, and changes one at a time', async () => {
    const gate = new Gate();
    const api = gated<Api>(gate, apiOf('old'), () => apiOf('old'));
    const failing = gate.closedFor(async () => {
      throw new Error('no');
    });
    const next = gate.closedFor(async () => 'done');
    await expect(failing).rejects.toThrow('no');
    expect(await next).toBe('done');
    expect(await api.ask('a')).toBe('old: a');
  });

  it('opens again and again for who waits for what is leased', async () => {
    const gate = new Gate();
    let asked = 0;
    const ask = async (): Promise<string> => {
      asked += 1;
      if (asked < 3) throw new HoldfastError('HF_LEASED');
      return 'mine';
    };
    const waiting = gate.passPatiently(ask);
    await gate.closedFor(async () => undefined); // it does not keep the gate open
    expect(await waiting).toBe('mine');
    const never = gate.passPatiently(async () => {
      throw new HoldfastError('HF_LEASED');
    });
    await expect(never).rejects.toMatchObject({ code: 'HF_LEASED' });
  });

  it('passes on errors, and what is not a method is not there', async () => {
    const gate = new Gate();
    const broken: Api = { ...apiOf('x'), ask: async () => Promise.reject(new Error('broken')) };
    const api = gated<Api>(gate, broken, () => broken);
    await expect(api.ask('a')).rejects.toThrow('broken');
    expect(Object.keys(api)).toEqual(['ask']);
  });
});
