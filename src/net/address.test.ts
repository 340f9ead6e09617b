/** Aim: one text for each address, and no other text. Method: examples. */
import { expect, it } from 'vitest';
import { errorCode } from '../base/index.ts';
import { formatAddress, parseAddress } from './address.ts';

it.each([
  ['tls://10.0.0.7:7450', { scheme: 'tls', host: '10.0.0.7', port: 7450, path: '' }],
  ['wss://a.example:443/x/y', { scheme: 'wss', host: 'a.example', port: 443, path: '/x/y' }],
  ['tls://[fe80::1%eth0]:1', { scheme: 'tls', host: 'fe80::1%eth0', port: 1, path: '' }],
])('%s is read and written', (text, address) => {
  expect(parseAddress(text)).toEqual(address);
  expect(formatAddress(address)).toBe(text);
});

it.each([
  '',
  'tls://host',
  'tls://host:65536',
  'tls://:1',
  'tls://a b:1',
  '://host:1',
  'tls://host:1?x',
  'tls://::1:1',
  `tls://${'a'.repeat(600)}:1`,
])('%s is refused', (text) => {
  let code: unknown;
  try {
    parseAddress(text);
  } catch (error) {
    code = errorCode(error);
  }
  expect(code).toBe('HF_BAD_ARGUMENT');
});
