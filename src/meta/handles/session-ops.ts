/**
 * Sessions as rows: `65,534 M session`. One that ends is *over* first: from that moment its locks
 * and leases count for nothing. Its row stays until a sweep has removed theirs, so that the same id
 * cannot come back to life with them.
 */
import { fromHex, HoldfastError, LIMITS, toHex } from '../../base/index.ts';
import type { Row } from '../../db/index.ts';
import type { Overlay, Rows } from '../cells/overlay.ts';
import {
  CELL_SLOT,
  keyReader,
  prefixRange,
  rowKey,
  valueReader,
  valueWriter,
} from '../cells/rows.ts';
import type { SessionId, SessionRecord } from './handles.ts';

const SESSION_BYTES = 16;
const SESSIONS_PREFIX = rowKey(CELL_SLOT, 'M');

interface SessionRow extends SessionRecord {
  readonly isOver: boolean;
}

function sessionKey(session: SessionId): Uint8Array {
  return rowKey(CELL_SLOT, 'M', fromHex(session));
}

function encodeSession({ node, openedAtMs, isOver }: SessionRow): Uint8Array {
  return valueWriter()
    .u8(isOver ? 1 : 0)
    .u64(openedAtMs)
    .text(node)
    .finish();
}

/** @throws HF_CORRUPT. */
function decodeSession({ key, value }: Row): SessionRow {
  const { rest } = keyReader(key);
  const session = toHex(rest.raw(SESSION_BYTES));
  rest.end();
  const reader = valueReader(value, 'session row');
  const state = reader.u8();
  if (state > 1) throw reader.corrupt('its state is not known');
  const row = { session, isOver: state === 1, openedAtMs: reader.u64(), node: reader.text() };
  reader.end();
  return row;
}

function findSession(rows: Rows, session: SessionId): SessionRow | undefined {
  const key = sessionKey(session);
  const value = rows.get(key);
  return value && decodeSession({ key, value });
}

/** Whether what the session holds counts. */
export function isLive(rows: Rows, session: SessionId): boolean {
  return findSession(rows, session)?.isOver === false;
}

/** @throws HF_SESSION_OVER. */
export function checkSession(rows: Rows, session: SessionId): void {
  if (!isLive(rows, session)) throw new HoldfastError('HF_SESSION_OVER');
}

/** @throws HF_SESSION_OVER; HF_UNAVAILABLE when there are too many. */
export function openSession(rows: Overlay, request: SessionRecord): void {
  if (findSession(rows, request.session)) return checkSession(rows, request.session);
  const limit = LIMITS.sessionsPerCellMax;
  if (rows.range({ ...prefixRange(SESSIONS_PREFIX), limit }).length === limit) {
    throw new HoldfastError('HF_UNAVAILABLE', `there are ${limit} sessions`);
  }
  rows.put(sessionKey(request.session), encodeSession({ ...request, isOver: false }));
}

/** @returns whether it was live. */
export function endSession(rows: Overlay, session: SessionId): boolean {
  const row = findSession(rows, session);
  if (!row || row.isOver) return false;
  rows.put(sessionKey(session), encodeSession({ ...row, isOver: true }));
  return true;
}

export function liveSessions(rows: Rows): SessionRecord[] {
  return allSessions(rows)
    .filter(({ isOver }) => !isOver)
    .map(({ session, node, openedAtMs }) => ({ session, node, openedAtMs }));
}

/** Whether any is live. */
export function hasSessions(rows: Rows): boolean {
  return allSessions(rows).some(({ isOver }) => !isOver);
}

/** Sessions whose locks and leases are to be swept. */
export function sessionsThatAreOver(rows: Rows): SessionId[] {
  return allSessions(rows)
    .filter(({ isOver }) => isOver)
    .map(({ session }) => session);
}

/** They have been swept. */
export function forgetSessions(rows: Overlay, sessions: readonly SessionId[]): void {
  for (const session of sessions) rows.delete(sessionKey(session));
}

function allSessions(rows: Rows): SessionRow[] {
  return rows.range(prefixRange(SESSIONS_PREFIX)).map(decodeSession);
}
