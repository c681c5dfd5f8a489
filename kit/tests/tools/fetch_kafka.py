"""Fetch Apache Kafka into a folder, with Maven: ``fetch_kafka.py FOLDER VERSION``.

The folder is there when everything in it is: several may fetch at once, and any may be killed.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

POM = """<project><modelVersion>4.0.0</modelVersion>
<groupId>paceline</groupId><artifactId>kafka-for-tests</artifactId><version>1</version>
<packaging>pom</packaging><dependencies><dependency>
<groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{version}</version>
</dependency></dependencies></project>"""


def main() -> int:
    folder, version = Path(sys.argv[1]), sys.argv[2]
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as made:
        pom = Path(made, "pom.xml")
        pom.write_text(POM.format(version=version))
        command = ["mvn", "-q", "-B", "-f", str(pom), "dependency:copy-dependencies"]
        jars = Path(made, "jars")
        done = subprocess.run(
            [*command, "-DincludeScope=runtime", f"-DoutputDirectory={jars}"], check=False
        )
        if done.returncode:
            return done.returncode
        try:
            jars.rename(folder)
        except OSError:  # another process was faster
            shutil.rmtree(jars)
    return 0 if folder.is_dir() else os.EX_UNAVAILABLE


if __name__ == "__main__":
    sys.exit(main())
