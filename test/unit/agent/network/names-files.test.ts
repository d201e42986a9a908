import { describe, expect, it } from 'vitest';
import { hostnameFile, hostsFile, resolvConf } from '../../../../agent/network/names-files.ts';

describe('the names files of a container', () => {
  it('put the container name on its address', () => {
    expect(hostsFile('web.1', '10.88.1.2')).toContain('10.88.1.2\tweb.1 web\n');
    expect(hostsFile('web', '10.88.1.2')).toContain('10.88.1.2\tweb\n');
    expect(hostsFile('web', '10.88.1.2')).toMatch(/^127\.0\.0\.1\tlocalhost\n/);
    expect(hostnameFile('web')).toBe('web\n');
  });

  it('keep resolvers, search domains and options of the host', () => {
    const text = '# made by dhcp\nnameserver 192.0.2.1\nsearch example.com\noptions ndots:2\n';
    expect(resolvConf(text, '')).toBe('nameserver 192.0.2.1\nsearch example.com\noptions ndots:2\n');
  });

  it('name the resolvers behind a local one', () => {
    const stub = 'nameserver 127.0.0.53\noptions edns0\n';
    expect(resolvConf(stub, 'nameserver 192.0.2.7\nsearch lan\n')).toBe('nameserver 192.0.2.7\nsearch lan\n');
  });

  it('leave a local resolver out when there is another', () => {
    expect(resolvConf('nameserver 127.0.0.1\nnameserver ::1\nnameserver 2001:db8::1\n', 'nameserver 192.0.2.7')).toBe(
      'nameserver 2001:db8::1\n',
    );
  });

  it('say so when there is no resolver a container can reach', () => {
    expect(resolvConf('nameserver 127.0.0.53\nsearch lan\n', '')).toBe(
      '# the host names no resolver that a container can reach\nsearch lan\n',
    );
  });
});
