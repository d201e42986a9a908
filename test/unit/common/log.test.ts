import { expect, it } from 'vitest';
import { ClusterError } from '../../../common/errors.ts';
import { makeLog } from '../../../common/log.ts';

function logged(write: (log: ReturnType<typeof makeLog>) => void): Record<string, unknown> {
  const lines: string[] = [];
  write(makeLog({ program: 'test', level: 'info', to: { write: (text: string) => void lines.push(text) } }));
  return JSON.parse(lines.join('')) as Record<string, unknown>;
}

it('never shows a secret, at the top or within an object', () => {
  const line = JSON.stringify(
    logged((log) => log.info({ token: 's3cret', cluster: { ca: { key: 's3cret' } } }, 'cluster')),
  );
  expect(line).not.toContain('s3cret');
  expect(line).toContain('[secret]');
});

it('shows an expected error by its words and its causes', () => {
  const cause = new ClusterError('unavailable', 'etcd is silent', { hint: 'wait', cause: new Error('refused') });
  expect(logged((log) => log.warn({ cause }, 'retrying'))).toMatchObject({
    level: 'warn',
    cause: { code: 'unavailable', message: 'etcd is silent', hint: 'wait', causes: ['refused'] },
  });
});
