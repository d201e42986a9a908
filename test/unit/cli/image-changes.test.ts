import { describe, expect, it } from 'vitest';
import { changed } from '../../../cli/flags/image-changes.ts';

describe('--change of image import and commit', () => {
  it('makes the changes of every instruction, in order', () => {
    const config = changed({ Env: ['PATH=/bin', 'A=0'], Labels: { kept: '1' }, WorkingDir: '/srv' }, [
      'CMD ["/server", "-v"]',
      'ENTRYPOINT exec /init $0',
      'ENV A=1 B="two words" C=x\\ y',
      'env OLD some value',
      'EXPOSE 80 53/UDP',
      'LABEL who="me" empty=',
      'ONBUILD RUN make',
      'STOPSIGNAL SIGINT',
      'USER 1000:1000',
      'VOLUME ["/data"]',
      'VOLUME /cache /logs',
      'WORKDIR app',
    ]);
    expect(config).toEqual({
      Cmd: ['/server', '-v'],
      Entrypoint: ['/bin/sh', '-c', 'exec /init $0'],
      Env: ['PATH=/bin', 'A=1', 'B=two words', 'C=x y', 'OLD=some value'],
      ExposedPorts: { '80/tcp': {}, '53/udp': {} },
      Labels: { kept: '1', who: 'me', empty: '' },
      OnBuild: ['RUN make'],
      StopSignal: 'SIGINT',
      User: '1000:1000',
      Volumes: { '/data': {}, '/cache': {}, '/logs': {} },
      WorkingDir: '/srv/app',
    });
  });

  it.each([
    ['RUN make', 'no change'],
    ['CMD', 'has no value'],
    ['ENV =1', 'no KEY=value'],
    ['LABEL a="b', 'not closed'],
    ['EXPOSE http', 'no port'],
    ['', 'no change'],
  ])('refuses %j and says why', (line, why) => {
    expect(() => changed({}, [line])).toThrow(expect.objectContaining({ code: 'invalid', field: '--change' }));
    expect(() => changed({}, [line])).toThrow(why);
  });
});
