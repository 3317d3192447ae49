# headbench on a CPU. docs/docker.md says how to build and run it.
FROM python:3.13-slim AS build
WORKDIR /source
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PATH=/opt/headbench/bin:$PATH
ARG EXTRAS=heic,serve
# The packages that it needs first, since they change less often than the code.
COPY pyproject.toml constraints.txt ./
RUN python -m venv /opt/headbench \
    && python -c "import sys, tomllib; project = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
       extras = [project['optional-dependencies'][name] for name in sys.argv[1].split(',') if name]; \
       print(*project['dependencies'], *sum(extras, []), sep='\n')" "$EXTRAS" > needed.txt \
    && pip install -c constraints.txt -r needed.txt \
    && rm -r /opt/headbench/lib/python*/site-packages/tensorflow/include
COPY . .
RUN pip install --no-deps .

FROM python:3.13-slim
# LightGBM needs the OpenMP library of the system, in whatever version this Debian has.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/*
RUN useradd --uid 1000 --create-home headbench \
    && install --directory --owner headbench /data/photos /data/runs
COPY --from=build /opt/headbench /opt/headbench
# Downloaded weights and converted networks are kept with the runs. What is written elsewhere is gone with the container.
ENV PATH=/opt/headbench/bin:$PATH KERAS_HOME=/data/runs/.keras \
    HEADBENCH_CACHE=/data/runs/.cache MPLCONFIGDIR=/tmp/matplotlib
WORKDIR /data
VOLUME ["/data/photos", "/data/runs"]
USER 1000
ENTRYPOINT ["headbench"]
CMD ["--help"]
